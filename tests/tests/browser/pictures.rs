//! The pictures of the guides: what the pages are, with something on them. Their folder is in `TT_PICTURES`; without
//! it they are taken all the same, and go.

use crate::http::{packaged, post};
use crate::operator;
use crate::warehouse::{Done, Warehouse};
use anyhow::ensure;
use serde_json::json;
use std::path::PathBuf;
use tt_tests::browser::Browser;
use tt_tests::node::Edge;

fn counts(edge: &Edge) -> Done {
    let page = edge.page()?;
    for (number, displays) in [(1, 24), (2, 24), (3, 18)] {
        let entry = packaged(&format!("77000000000{number}"), displays);
        ensure!(post(&page, &format!("/api/entries/key-0000000{number}"), &entry)?.status == 200);
    }
    Ok(())
}

#[test]
fn the_pictures_of_the_guides_can_be_taken() -> Done {
    let Some(browser) = Browser::start()? else { return Ok(()) };
    let own = tempfile::tempdir()?;
    let folder = std::env::var_os("TT_PICTURES").map_or_else(|| own.path().to_owned(), PathBuf::from);
    let warehouse = Warehouse::open()?;
    let [mut first, mut second] = operator::disagreeing(&warehouse)?;
    first.run()?;
    second.run()?;
    let mut third = warehouse.linked("scanner-1")?;
    for edge in [&first, &second, &third] {
        edge.sync("60")?;
    }
    counts(&first)?;
    for command in [&["backup"][..], &["drill"]] {
        ensure!(warehouse.hub.say(command)?.code == 0, "{command:?}");
    }
    if let Some(daemon) = third.daemon.take() {
        daemon.stop()?;
    }
    browser.show_as(1_200, 1_250, "light")?;
    browser.open(&operator::page(&warehouse)?)?;
    browser.until(
        "document.querySelector('[data-conflict]') && document.querySelector('#calendar tbody')
         && document.querySelector('[data-device=scanner-1][data-state=away]')
         && document.querySelector('[data-device=packing-1]').innerText.includes(' ms')",
    )?;
    browser.picture(&folder.join("operator.png"))?;
    browser.show_as(820, 1_180, "light")?;
    let page = first.page()?;
    browser.open(&format!("http://localhost:{}/", page.rsplit(':').next().unwrap_or_default()))?;
    browser.until(
        "document.querySelector('[name=receipt]') && document.querySelectorAll('#list > *').length >= 3",
    )?;
    for (name, value) in [("employee", "Ana"), ("product", "ACC Blue 4ct"), ("box", "3"), ("bag", "10")] {
        browser.run(&format!("document.querySelector('[name={name}]').value = {}", json!(value)))?;
    }
    browser.picture(&folder.join("station.png"))?;
    for name in ["operator.png", "station.png"] {
        let bytes = std::fs::metadata(folder.join(name))?.len();
        ensure!(bytes > 20_000, "{name} has only {bytes} bytes: there is nothing on it");
    }
    Ok(())
}
