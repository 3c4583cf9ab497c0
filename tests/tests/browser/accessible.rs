//! Both pages with something on them, looked at by axe-core: nothing that keeps a person out, in light and dark, on a
//! desk and a phone. And the operator's page stays usable with a thousand devices and a hundred thousand conflicts.

use crate::http::{packaged, post};
use crate::operator;
use crate::warehouse::{Done, Warehouse};
use anyhow::{Context as _, ensure};
use rusqlite::{Connection, params};
use tt_protocol::frame::to_bytes;
use tt_protocol::value::Value;
use tt_tests::browser::Browser;

/// The rules of axe-core; `None` where they are not installed, which is said, and is a failure where `CI` is set.
fn rules() -> anyhow::Result<Option<String>> {
    if let Some(file) = std::env::var_os("TT_AXE") {
        return Ok(Some(std::fs::read_to_string(&file).with_context(|| format!("{}", file.display()))?));
    }
    ensure!(std::env::var_os("CI").is_none(), "TT_AXE names no axe.min.js; tests/run.sh installs it");
    eprintln!("SKIPPED: axe-core is missing; tests/run.sh installs it");
    Ok(None)
}

/// Serious and critical findings, each with the elements that it is about.
const FIND: &str = "return axe.run(document, { resultTypes: ['violations'] }).then(found => found.violations
  .filter(one => ['serious', 'critical'].includes(one.impact))
  .map(one => one.id + ': ' + one.help + ' at ' + one.nodes.map(node => node.target.join(' ')).slice(0, 5).join(' and '))
  .join('; ') + (found.passes.length < 10 ? 'axe-core looked at nothing' : ''))";

fn look(browser: &Browser, rules: &str, what: &str) -> Done {
    for (width, height) in [(1_200, 900), (390, 844)] {
        for scheme in ["light", "dark"] {
            browser.show_as(width, height, scheme)?;
            browser.run(rules)?;
            let found = browser.run(FIND)?;
            ensure!(found == "", "{what}, {scheme}, {width} wide: {found}");
        }
    }
    Ok(())
}

#[test]
fn axe_core_finds_nothing_serious_on_the_operators_page() -> Done {
    let (Some(rules), Some(browser)) = (rules()?, Browser::start()?) else { return Ok(()) };
    let warehouse = Warehouse::open()?;
    let [_first, _second] = operator::disagreeing(&warehouse)?;
    ensure!(warehouse.hub.say(&["backup"])?.code == 0);
    browser.open(&operator::page(&warehouse)?)?;
    browser.until("document.querySelector('[data-conflict] [data-decision=loser]')")?;
    look(&browser, &rules, "the page")?;
    browser.run("document.querySelector('[data-decision=loser]').click()")?;
    browser.until("document.getElementById('ask').open")?;
    look(&browser, &rules, "the page that asks")
}

#[test]
fn axe_core_finds_nothing_serious_on_the_station_page() -> Done {
    let (Some(rules), Some(browser)) = (rules()?, Browser::start()?) else { return Ok(()) };
    let warehouse = Warehouse::open()?;
    let edge = warehouse.linked("packing-1")?;
    let page = edge.page()?;
    let port = page.rsplit(':').next().context("a port")?;
    browser.open(&format!("http://localhost:{port}/"))?;
    browser.until("document.querySelector('[name=receipt]') && document.title === 'packing-1'")?;
    let entry = packaged("770000000001", 24);
    ensure!(post(&page, "/api/entries/key-00000001", &entry)?.status == 200);
    browser.until("document.querySelectorAll('#list > *').length > 0")?;
    look(&browser, &rules, "the station page")
}

#[test]
fn a_thousand_devices_and_a_hundred_thousand_conflicts_leave_the_page_usable() -> Done {
    let Some(browser) = Browser::start()? else { return Ok(()) };
    let warehouse = Warehouse::open()?;
    let hub = Connection::open(warehouse.hub.db())?;
    hub.busy_timeout(std::time::Duration::from_secs(60))?;
    hub.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
         INSERT INTO _sync_edge(device, name, role, enrolled_at, cert_sha256)
         SELECT 100 + i, printf('station-%04d', i), 'station', 0, randomblob(32) FROM n",
        [],
    )?;
    let (named, none) = (to_bytes(&vec![("id".to_owned(), Value::Integer(7))]), to_bytes(&Vec::<u8>::new()));
    hub.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
         INSERT INTO _sync_conflict(id, version, kind, tab, key, named_key, clashes, lost_from, lost_at, action)
         SELECT i, 0, 'column', 'po_lines', x'', ?1, ?2, 101, 0, 'kept' FROM n",
        params![named, none],
    )?;
    browser.open(&operator::page(&warehouse)?)?;
    browser.until("document.querySelector('[data-conflict]') && document.querySelector('[data-device]')")?;
    let shown = |what: &str| -> anyhow::Result<u64> {
        browser
            .run(&format!("return document.querySelectorAll('[{what}]').length"))?
            .as_u64()
            .context("a number")
    };
    ensure!((1..=200).contains(&shown("data-conflict")?), "{} conflicts at once", shown("data-conflict")?);
    ensure!((1..=200).contains(&shown("data-device")?), "{} devices at once", shown("data-device")?);
    let all =
        browser.run("return document.getElementsByTagName('*').length")?.as_u64().context("a number")?;
    ensure!(all < 20_000, "{all} elements");
    let verdict = browser.run("return document.body.innerText")?.to_string();
    ensure!(verdict.contains("100000") || verdict.contains("100,000"), "the page says how many there are");
    // The page still answers: a device is found by its name, and a decision is asked about.
    browser.run("document.querySelector('[data-decision=winner]').click()")?;
    browser.until("document.getElementById('ask').open")
}
