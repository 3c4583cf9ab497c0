//! A person counts at the station page: with a scanner and without, offline, in a hurry, in Spanish, on a phone.

use crate::warehouse::{Done, Warehouse, until_number};
use anyhow::{Context as _, ensure};
use serde_json::json;
use std::time::Duration;
use tt_tests::browser::Browser;
use tt_tests::inspect;
use tt_tests::node::{Edge, until};

const COUNTED: &str =
    "SELECT COALESCE(SUM(displays_made), 0) FROM warehouse_submissions WHERE receipt_number LIKE '7700%'";
/// A person types about so fast.
const PERSON: Duration = Duration::from_millis(120);
const TAB: char = '\u{e004}';
const ENTER: char = '\u{e007}';

struct Story {
    browser: Browser,
    edge: Edge,
    warehouse: Warehouse,
}

impl Story {
    /// None without a browser.
    fn begin(width: u32, height: u32) -> anyhow::Result<Option<Self>> {
        let Some(browser) = Browser::start()? else { return Ok(None) };
        let warehouse = Warehouse::open()?;
        let edge = warehouse.linked("packing-1")?;
        let story = Self { browser, edge, warehouse };
        story.open()?;
        story.browser.show_as(width, height, "light")?;
        Ok(Some(story))
    }

    fn open(&self) -> Done {
        let port = self.edge.page()?.rsplit(':').next().context("a port")?.to_owned();
        self.browser.open(&format!("http://localhost:{port}/"))?;
        self.browser.until("document.querySelector('[name=receipt]') && document.title === 'packing-1'")
    }

    fn focus(&self, name: &str) -> Done {
        self.browser.run(&format!("document.querySelector('[name={name}]').focus()"))?;
        Ok(())
    }

    /// Key by key, at a person's pace: faster keys are a scanner's.
    fn types(&self, keys: &str) -> Done {
        for key in keys.chars() {
            self.browser.press(&key.to_string())?;
            std::thread::sleep(PERSON);
        }
        Ok(())
    }

    fn value(&self, name: &str) -> anyhow::Result<String> {
        let found = self.browser.run(&format!("return document.querySelector('[name={name}]').value"))?;
        found.as_str().map(str::to_owned).context("a value")
    }

    /// Fills a form by its fields, as a person does who has done it a thousand times.
    fn fill(&self, fields: &[(&str, &str)]) -> Done {
        for (name, value) in fields {
            let set = format!(
                "const field = document.querySelector('[name={name}]'); field.value = {};
                 field.dispatchEvent(new Event('input', {{ bubbles: true }}))",
                json!(value)
            );
            self.browser.run(&set)?;
        }
        Ok(())
    }

    fn packaged(&self, receipt: &str, displays: &str) -> Done {
        let fields = [
            ("employee", "Ana"),
            ("product", "ACC Blue 4ct"),
            ("receipt", receipt),
            ("box", "1"),
            ("bag", "2"),
        ];
        self.fill(&fields)?;
        self.fill(&[("displays", displays)])
    }

    fn status(&self, words: &str) -> Done {
        self.browser
            .until(&format!("document.querySelector('#status-words').textContent.includes({})", json!(words)))
    }
}

#[test]
fn scans_fill_their_fields_offline_and_the_count_arrives_at_the_hub() -> Done {
    let Some(mut story) = Story::begin(820, 1180)? else { return Ok(()) };
    story.warehouse.stop_hub()?;
    story.status("No connection: keep counting.")?;
    story.fill(&[("employee", "Ana")])?;
    story.focus("displays")?;
    story.types("12")?;
    for code in ["ACC Blue 4ct", "]C1BAG-2", "BOX-1", "7700000000001", "BAG-123456789"] {
        story.focus("displays")?;
        story.browser.press(&format!("{code}{ENTER}"))?;
    }
    let found = (story.value("product")?, story.value("receipt")?, story.value("displays")?);
    ensure!(found == ("ACC Blue 4ct".to_owned(), "7700000000001".to_owned(), "12".to_owned()), "{found:?}");
    ensure!((story.value("box")?, story.value("bag")?) == ("1".to_owned(), "2".to_owned()));
    story.browser.run("document.querySelector('#save').click()")?;
    story.status("1 saved on this device, waiting for the hub")?;
    ensure!(inspect::number(&story.edge.db(), COUNTED)? == 12);
    story.warehouse.serve()?;
    story.status("At the hub.")?;
    story.browser.until("document.querySelector('#list .where').textContent === 'At the hub'")?;
    until_number(&story.warehouse.hub.db(), COUNTED, 12)
}

#[test]
fn a_double_tap_counts_once() -> Done {
    let Some(story) = Story::begin(820, 1180)? else { return Ok(()) };
    story.packaged("7700000000002", "5")?;
    story.browser.run("for (let tap = 0; tap < 3; tap++) document.querySelector('#save').click()")?;
    story.browser.until("document.querySelectorAll('#list > .hub, #list > .here').length === 1")?;
    ensure!(inspect::number(&story.edge.db(), COUNTED)? == 5);
    ensure!(
        story.value("displays")?.is_empty() && story.value("employee")? == "Ana",
        "the next form knows who counts"
    );
    Ok(())
}

#[test]
fn a_second_tab_with_the_same_form_neither_loses_a_count_nor_counts_twice() -> Done {
    let Some(story) = Story::begin(820, 1180)? else { return Ok(()) };
    story.packaged("7700000000004", "5")?;
    let draft = story.browser.run("return localStorage.getItem('tt-draft')")?;
    // As a tab that was opened while the form was half filled, and is looked at only now.
    let second_tab = || -> Done {
        story.browser.run(&format!("localStorage.setItem('tt-draft', {draft})"))?;
        story.open()?;
        story.browser.until("document.querySelectorAll('#list > .hub, #list > .here').length > 0")
    };
    let save = || story.browser.run("document.querySelector('#save').click()").map(drop);
    save()?;
    second_tab()?;
    save()?;
    story.browser.until("document.querySelector('[name=displays]').value === ''")?;
    ensure!(inspect::number(&story.edge.db(), COUNTED)? == 5, "the same count is the same count");
    second_tab()?;
    story.fill(&[("receipt", "7700000000005"), ("displays", "7")])?;
    save()?;
    story.browser.until("document.querySelector('#question').open")?;
    story.browser.run("document.querySelector('#question-yes').click()")?;
    until_number(&story.edge.db(), COUNTED, 12)
}

#[test]
fn a_device_that_cannot_save_is_not_called_saved() -> Done {
    let Some(story) = Story::begin(820, 1180)? else { return Ok(()) };
    story.status("At the hub.")?;
    // As the daemon answers while its disk is full.
    story.browser.run(
        "window.true_fetch = fetch;
         fetch = async () => new Response(JSON.stringify({ error: 'busy', message: 'full' }), { status: 503 })",
    )?;
    story.packaged("7700000000006", "5")?;
    story.browser.run("document.querySelector('#save').click()")?;
    story.status("This device cannot save just now")?;
    story.browser.run("fetch = window.true_fetch")?;
    story.status("At the hub.")?;
    until_number(&story.warehouse.hub.db(), COUNTED, 5)?;
    // What the person was asked and has not answered is not saved either.
    story.packaged("7700000000006", "1")?;
    story.browser.run("document.querySelector('#save').click()")?;
    story.browser.until("document.querySelector('#question').open")?;
    story.open()?;
    story.status("Not saved: 1.")
}

#[test]
fn a_closed_tab_loses_nothing_while_the_daemon_is_away() -> Done {
    let Some(mut story) = Story::begin(820, 1180)? else { return Ok(()) };
    let address = story.edge.page()?;
    story.browser.until("navigator.serviceWorker.controller")?;
    story.edge.daemon.take().context("it runs")?.kill()?;
    story.status("This device does not answer")?;
    story.packaged("7700000000003", "4")?;
    story.browser.run("document.querySelector('#save').click()")?;
    story.browser.until("document.querySelector('#list > .page')")?;
    story.fill(&[("product", "ACC Red 7ct")])?;
    story.browser.open("about:blank")?;
    story.edge.run_at(&address)?;
    story.open()?;
    story.browser.until(
        "document.querySelectorAll('#list > .hub').length === 1 && !document.querySelector('#list > .page')",
    )?;
    ensure!(story.value("product")? == "ACC Red 7ct", "the half-filled form is there again");
    ensure!(inspect::number(&story.edge.db(), COUNTED)? == 4);
    until_number(&story.warehouse.hub.db(), COUNTED, 4)
}

#[test]
fn a_keyboard_is_enough() -> Done {
    let Some(story) = Story::begin(820, 1180)? else { return Ok(()) };
    story.focus("employee")?;
    story.types(&format!("Ana{TAB}blue 4{ENTER}77001{TAB}1{ENTER}2{ENTER}{TAB}3{ENTER}"))?;
    let found = (story.value("product")?, story.value("bag")?, story.value("displays")?);
    ensure!(found == ("ACC Blue 4ct".to_owned(), "2".to_owned(), "3".to_owned()), "{found:?}");
    story.types(&format!("{TAB}{TAB}{TAB}{TAB}{ENTER}"))?;
    let counted = || Ok((inspect::number(&story.edge.db(), COUNTED)? == 3).then_some(()));
    until("the count is saved", counted)
}

#[test]
fn it_fits_a_phone_and_speaks_spanish() -> Done {
    let Some(story) = Story::begin(360, 740)? else { return Ok(()) };
    story.browser.run("document.querySelector('#language').click()")?;
    story.status("En la central.")?;
    story.open()?;
    ensure!(story.browser.run("return document.documentElement.lang")? == "es", "it is remembered");
    ensure!(story.browser.run("return document.querySelector('#save').textContent")? == "Guardar");
    let narrow = "return [...document.querySelectorAll('body *')].filter((one) =>
        !one.matches('.skip, .hidden, .tabs input') && one.getBoundingClientRect().right > innerWidth).map((one) => one.outerHTML)";
    let wide = story.browser.run(narrow)?;
    ensure!(wide == json!([]), "wider than the screen: {wide}");
    let small = "return [...document.querySelectorAll('button, input, textarea')].filter((one) =>
        one.type !== 'radio' && one.offsetParent && one.getBoundingClientRect().height < 56).map((one) => one.outerHTML)";
    let small = story.browser.run(small)?;
    ensure!(small == json!([]), "too small for gloves: {small}");
    Ok(())
}
