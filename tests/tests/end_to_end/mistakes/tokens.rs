//! Tokens that open nothing: the reason says why, and the device's folder holds no identity afterwards.

use crate::warehouse::{Done, Warehouse, refused};
use anyhow::ensure;
use tt_tests::node::until;

#[test]
fn a_token_that_is_none_or_damaged() -> Done {
    let warehouse = Warehouse::open()?;
    let token = warehouse.hub.invite("packing-1")?;
    let half = &token[..token.len() / 2];
    let last = if token.ends_with('a') { "b" } else { "a" };
    let wrong = format!("{}{last}", &token[..token.len() - 1]);
    for (token, reason) in
        [("hello", "not a join token"), (half, "damaged"), (&wrong, "damaged"), ("tt2-abc", "newer hub")]
    {
        refused(&warehouse.edge_says("packing-1", &["join", token])?, 1, &[reason])?;
        ensure!(!warehouse.path("packing-1").exists(), "nothing is made for a token that is none");
    }
    // It was harmless: the whole token still works, however it was copied.
    let copied = format!("  {} ", token.to_uppercase());
    let said = warehouse.edge_says("packing-1", &["join", &copied])?;
    ensure!(said.code == 0 && said.out.contains("Joined as packing-1"), "{said:?}");
    Ok(())
}

#[test]
fn a_token_that_was_used_withdrawn_or_revoked() -> Done {
    let warehouse = Warehouse::open()?;
    let used = warehouse.hub.invite("packing-1")?;
    warehouse.edge_says("packing-1", &["join", &used])?;
    refused(
        &warehouse.edge_says("thief", &["join", &used])?,
        1,
        &["already used", "packing-1", "ask for a new one"],
    )?;
    let first = warehouse.hub.invite("packing-2")?;
    let second = warehouse.hub.invite("packing-2")?;
    refused(&warehouse.edge_says("late", &["join", &first])?, 1, &["does not know this token", "invite"])?;
    ensure!(warehouse.edge_says("late", &["join", &second])?.code == 0, "the newer token works");
    for folder in ["thief", "late"] {
        let made = warehouse.path(folder).join("tablet_counter.db").exists();
        ensure!(
            made == (folder == "late"),
            "{folder}: a file without rows would be taken for an empty warehouse"
        );
    }
    Ok(())
}

#[test]
fn a_token_that_has_expired() -> Done {
    let warehouse = Warehouse::open()?;
    let said = warehouse.hub.say(&["invite", "packing-1", "--ttl", "1s", "--json"])?;
    let invited: serde_json::Value = serde_json::from_str(&said.out)?;
    let token = invited["token"].as_str().unwrap_or_default();
    let expires = invited["expires_at"].as_i64().unwrap_or(i64::MAX);
    until("the token has expired", || Ok((now_ms()? > expires).then_some(())))?;
    refused(
        &warehouse.edge_says("packing-1", &["join", token])?,
        1,
        &["has expired", "tt-hub invite packing-1"],
    )
}

#[test]
fn a_token_of_another_hub() -> Done {
    let (warehouse, stranger) = (Warehouse::open()?, Warehouse::open()?);
    let token = stranger.hub.invite("packing-1")?;
    let here = warehouse.relay.address().to_string();
    stranger.relay.cut();
    let said = warehouse.edge_says("packing-1", &["join", &token, "--hub", &here])?;
    refused(&said, 1, &[&here, "is not the hub that made the token"])?;
    stranger.relay.mend();
    ensure!(warehouse.edge_says("packing-1", &["join", &token])?.code == 0, "the token was not used up");
    Ok(())
}

#[test]
fn a_hub_that_is_out_of_reach() -> Done {
    let mut warehouse = Warehouse::open()?;
    let token = warehouse.hub.invite("packing-1")?;
    warehouse.stop_hub()?;
    let address = warehouse.relay.address().to_string();
    let said = warehouse.edge_says("packing-1", &["join", &token])?;
    refused(&said, 1, &["the hub cannot be reached", &address, "--hub"])?;
    warehouse.serve()?;
    ensure!(warehouse.edge_says("packing-1", &["join", &token])?.code == 0, "the same token works later");
    Ok(())
}

fn now_ms() -> anyhow::Result<i64> {
    Ok(i64::try_from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_millis())?)
}
