//! The operator's page: what changes shows at once, a decision reaches the devices, the keyboard is enough, and a
//! phone is wide enough.

use crate::warehouse::{Done, Warehouse, sql};
use anyhow::{Context as _, ensure};
use serde_json::Value as Json;
use std::path::Path;
use tt_tests::browser::Browser;
use tt_tests::inspect;
use tt_tests::node::until;

const TAB: &str = "\u{e004}";
const ENTER: &str = "\u{e007}";
const NAME: &str = "SELECT line_item_name FROM po_lines WHERE id = 1";

pub(crate) fn page(warehouse: &Warehouse) -> anyhow::Result<String> {
    let told: Json = serde_json::from_slice(&std::fs::read(warehouse.hub.dir.join("hub.addr.json"))?)?;
    Ok(format!("http://{}/", told["http"].as_str().context("the hub says where it is")?))
}

/// Two devices that disagree about one column.
pub(crate) fn disagreeing(warehouse: &Warehouse) -> anyhow::Result<[tt_tests::node::Edge; 2]> {
    let (first, second) = (warehouse.device("packing-1")?, warehouse.device("packing-2")?);
    for (edge, name) in [(&first, "earlier"), (&second, "later")] {
        sql(&edge.db(), &format!("UPDATE po_lines SET line_item_name = '{name}' WHERE id = 1"))?;
        edge.sync("60")?;
    }
    Ok([first, second])
}

fn until_text(db: &Path, expected: &str) -> Done {
    until(&format!("{} has {expected}", db.display()), || {
        let found: Option<String> = inspect::open(db)?.query_row(NAME, [], |row| row.get(0))?;
        Ok((found.as_deref() == Some(expected)).then_some(()))
    })
}

#[test]
fn a_device_that_drops_shows_at_once() -> Done {
    let Some(browser) = Browser::start()? else { return Ok(()) };
    let warehouse = Warehouse::open()?;
    let mut edge = warehouse.linked("packing-1")?;
    browser.open(&page(&warehouse)?)?;
    let state = |word: &str| format!("document.querySelector('[data-device=packing-1][data-state={word}]')");
    browser.until(&state("connected"))?;
    browser.until("document.getElementById('verdict').dataset.state !== 'unknown'")?;
    edge.daemon.take().context("it runs")?.stop()?;
    browser.until(&state("away"))
}

#[test]
fn a_conflict_is_decided_by_clicks_and_the_devices_have_it() -> Done {
    let Some(browser) = Browser::start()? else { return Ok(()) };
    let warehouse = Warehouse::open()?;
    let [mut first, mut second] = disagreeing(&warehouse)?;
    first.run()?;
    second.run()?;
    until_text(&first.db(), "later")?;
    browser.open(&page(&warehouse)?)?;
    browser.until("document.querySelector('[data-conflict] [data-decision=loser]')")?;
    let shown = browser.run("return document.querySelector('[data-conflict]').innerText")?.to_string();
    ensure!(shown.contains("earlier") && shown.contains("later"), "both values: {shown}");
    browser.run("document.querySelector('[data-decision=loser]').click()")?;
    browser.until("document.getElementById('ask').open")?;
    browser.click("#ask-yes")?;
    until_text(&first.db(), "earlier")?;
    until_text(&second.db(), "earlier")?;
    browser.until("!document.querySelector('[data-conflict]')")
}

#[test]
fn the_keyboard_is_enough() -> Done {
    let Some(browser) = Browser::start()? else { return Ok(()) };
    let warehouse = Warehouse::open()?;
    let [first, _second] = disagreeing(&warehouse)?;
    browser.open(&page(&warehouse)?)?;
    browser.until("document.querySelector('[data-decision=loser]')")?;
    let mut tabs = 0;
    while browser.run("return document.activeElement.dataset.decision === 'loser'")? != true {
        browser.press(TAB)?;
        tabs += 1;
        ensure!(tabs < 80, "the button is out of reach of the keyboard");
    }
    browser.press(ENTER)?;
    browser.until("document.activeElement.id === 'ask-no'")?;
    browser.press(&format!("{TAB}{ENTER}"))?;
    browser.until("!document.querySelector('[data-conflict]')")?;
    first.sync("60")?;
    until_text(&first.db(), "earlier")
}

#[test]
fn a_phone_is_wide_enough() -> Done {
    let Some(browser) = Browser::start()? else { return Ok(()) };
    let mut warehouse = Warehouse::open()?;
    let _devices = disagreeing(&warehouse)?;
    for (width, height, scheme) in [(360, 2_400, "light"), (1_200, 1_600, "dark"), (1_200, 1_600, "light")] {
        browser.show_as(width, height, scheme)?;
        browser.open(&page(&warehouse)?)?;
        browser.until(
            "document.querySelector('[data-conflict]') && document.querySelector('#calendar tbody')",
        )?;
        let over = browser.run("return document.documentElement.scrollWidth - window.innerWidth")?;
        ensure!(over.as_i64().is_some_and(|over| over <= 0), "{width}: {over} pixels stand out");
        let taller = browser.run(
            "const height = (what) => document.querySelector(`#calendar tbody ${what}`).offsetHeight;
             return height('th') - height('.cell')",
        )?;
        ensure!(
            taller.as_i64().is_some_and(|taller| taller < 8),
            "{width}: a tier's name is broken, {taller}"
        );
        let unseen = "const box = document.querySelector('#calendar').closest('.scroll');
                      return box.scrollWidth - box.clientWidth - Math.round(box.scrollLeft)";
        ensure!(
            browser.run(unseen)?.as_i64().is_some_and(|unseen| unseen <= 1),
            "{width}: today is out of sight"
        );
    }
    warehouse.stop_hub()?;
    browser.until("!document.getElementById('silent').hidden")?;
    browser.run("document.getElementById('backup').click(); document.getElementById('ask-yes').click()")?;
    browser.until("document.getElementById('said').textContent.startsWith('The hub does not answer')")
}

#[test]
fn an_answer_never_stands_under_another_question() -> Done {
    let Some(browser) = Browser::start()? else { return Ok(()) };
    let warehouse = Warehouse::open()?;
    browser.open(&page(&warehouse)?)?;
    let ask = |table: &str| {
        browser.run(&format!(
            "const form = document.getElementById('history'); form.elements.table.value = '{table}';
             form.elements.key.value = '1'; form.requestSubmit()"
        ))
    };
    ask("po_lines")?;
    browser.until("document.getElementById('changes').textContent.includes('Nothing has happened')")?;
    ask("nowhere")?;
    browser.until("document.getElementById('said').textContent.includes('nowhere')")?;
    ensure!(browser.run("return document.getElementById('changes').textContent")? == "");
    ask("po_lines")?;
    browser.until("document.getElementById('changes').textContent.includes('Nothing has happened')")?;
    ensure!(browser.run("return document.getElementById('said').textContent")? == "");
    Ok(())
}

#[test]
fn a_wrong_token_is_asked_for_again_and_the_right_one_lets_in() -> Done {
    let Some(browser) = Browser::start()? else { return Ok(()) };
    let mut warehouse = Warehouse::open()?;
    warehouse.stop_hub()?;
    let settings = warehouse.hub.dir.join("hub.toml");
    let text = std::fs::read_to_string(&settings)?;
    std::fs::write(&settings, text.replace("http_names = []", "http_names = [\"hub.example.com\"]"))?;
    warehouse.serve()?;
    browser.open(&page(&warehouse)?)?;
    let token = std::fs::read_to_string(warehouse.hub.dir.join("http.token"))?;
    browser.until("document.getElementById('ask').open")?;
    let give = |token: &str| {
        let token = Json::from(token);
        browser.run(&format!(
            "document.querySelector('#ask input').value = {token}; document.getElementById('ask-yes').click()"
        ))
    };
    give("wrong")?;
    browser.until(
        "document.getElementById('ask').open
         && document.getElementById('ask-text').textContent.startsWith('That did not work')",
    )?;
    give(token.trim())?;
    browser.until("document.getElementById('verdict').dataset.state !== 'unknown'")
}
