//! Invitations, and the devices that answer them.
//!
//! * The hub stores only the SHA-256 of a token's secret, so its file or a backup opens nothing.
//! * A token works once. The device that used it may repeat its request while the token lives, in
//!   case the reply was lost; it is told apart by its key.
//! * The check and the use of a token are one UPDATE, so two devices cannot both win.

use super::{DevicesError, atomically, by_name, cut_off, journaled};
use rusqlite::{Connection, OptionalExtension, params};
use tt_protocol::ids::DEVICE_MAX;
use tt_protocol::number::{EdgeId, Millis};
use tt_protocol::token::Secret;

/// Used and expired tokens are remembered so long, to give the right reason to a latecomer.
const TOKEN_MEMORY_MS: i64 = 30 * 24 * 3600 * 1000;

/// A new invitation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// Goes into the token, and is stored nowhere.
    pub secret: Secret,
    /// The device that the invitation has cut off: its connection must be closed.
    pub replaced: Option<EdgeId>,
}

/// A device that may come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    /// Its number.
    pub device: EdgeId,
    /// Its name.
    pub name: String,
    /// What it may write.
    pub role: String,
}

/// Invites a device. An earlier invitation of that name that nobody has used is withdrawn.
///
/// # Errors
/// When the name, role or lifetime is none, when there is or was such a device and `replace` is
/// false, when numbers have run out, or when SQLite refuses.
pub fn invite(
    conn: &Connection,
    name: &str,
    role: &str,
    ttl_ms: i64,
    replace: bool,
    now: Millis,
) -> Result<Invitation, DevicesError> {
    check(name, role, ttl_ms)?;
    let mut secret = Secret([0; 16]);
    getrandom::fill(&mut secret.0).map_err(DevicesError::Random)?;
    let forgotten = now.0.saturating_sub(TOKEN_MEMORY_MS);
    atomically(conn, || {
        let old = "DELETE FROM _sync_token WHERE (name = ? AND used_at IS NULL) OR expires_at < ?";
        conn.execute(old, params![name, forgotten])?;
        if !replace && by_name(conn, name)?.is_some() {
            return Err(DevicesError::Exists(name.to_owned()));
        }
        next_number(conn)?;
        let replaced = cut_off(conn, name, now)?;
        conn.execute(
            "INSERT INTO _sync_token (secret_sha256, name, role, expires_at) VALUES (?, ?, ?, ?)",
            params![secret.sha256(), name, role, now.0.saturating_add(ttl_ms)],
        )?;
        journaled::tell(conn, now)?;
        Ok(Invitation { secret, replaced })
    })
}

/// Uses a token: the device gets its number. The same key may ask again while the token lives.
///
/// # Errors
/// When the token is unknown, expired or used by another key, when its device was revoked, when
/// numbers have run out, or when SQLite refuses.
pub fn redeem(
    conn: &Connection,
    secret: &Secret,
    public_key: &[u8],
    now: Millis,
) -> Result<Admission, DevicesError> {
    let sha256 = secret.sha256();
    atomically(conn, || {
        let sql = "UPDATE _sync_token SET used_at = ?1, public_key = ?2 \
                   WHERE secret_sha256 = ?3 AND used_at IS NULL AND expires_at > ?1 RETURNING name, role";
        let named = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        match conn.query_row(sql, params![now.0, public_key, sha256], named).optional()? {
            Some((name, role)) => admit(conn, &sha256, name, role, now),
            None => repeat(conn, &sha256, public_key, now),
        }
    })
}

fn admit(
    conn: &Connection,
    secret_sha256: &[u8; 32],
    name: String,
    role: String,
    now: Millis,
) -> Result<Admission, DevicesError> {
    let device = next_number(conn)?;
    cut_off(conn, &name, now)?;
    conn.execute(
        "INSERT INTO _sync_edge (device, name, role, enrolled_at) VALUES (?, ?, ?, ?)",
        params![device.0, name, role, now.0],
    )?;
    let sql = "UPDATE _sync_token SET device = ? WHERE secret_sha256 = ?";
    conn.execute(sql, params![device.0, secret_sha256])?;
    journaled::tell(conn, now)?;
    Ok(Admission { device, name, role })
}

/// The token is not open: either the reply to the same device was lost, or there is a reason to refuse.
fn repeat(
    conn: &Connection,
    secret_sha256: &[u8; 32],
    public_key: &[u8],
    now: Millis,
) -> Result<Admission, DevicesError> {
    let sql = "SELECT token.name, token.role, token.expires_at, token.public_key, token.device, edge.revoked_at \
               FROM _sync_token AS token LEFT JOIN _sync_edge AS edge USING (device) WHERE secret_sha256 = ?";
    let used = conn.query_row(sql, [secret_sha256], |row| {
        Ok(Used {
            name: row.get(0)?,
            role: row.get(1)?,
            expires_at: row.get(2)?,
            public_key: row.get(3)?,
            device: row.get::<_, Option<u16>>(4)?.map(EdgeId),
            revoked_at: row.get(5)?,
        })
    });
    let Used { name, role, expires_at, public_key: first, device, revoked_at } =
        used.optional()?.ok_or(DevicesError::TokenUnknown)?;
    match device {
        Some(_) if first.as_deref() != Some(public_key) => Err(DevicesError::TokenUsed(name)),
        Some(_) if revoked_at.is_some() => Err(DevicesError::TokenRevoked(name)),
        Some(device) if expires_at > now.0 => Ok(Admission { device, name, role }),
        _ => Err(DevicesError::TokenExpired(name)),
    }
}

struct Used {
    name: String,
    role: String,
    expires_at: i64,
    public_key: Option<Vec<u8>>,
    device: Option<EdgeId>,
    revoked_at: Option<i64>,
}

pub(super) fn next_number(conn: &Connection) -> Result<EdgeId, DevicesError> {
    let sql = "SELECT coalesce(max(device), 0) + 1 FROM _sync_edge";
    let next: i64 = conn.query_row(sql, [], |row| row.get(0))?;
    match u16::try_from(next) {
        Ok(next) if next <= DEVICE_MAX => Ok(EdgeId(next)),
        _ => Err(DevicesError::Full),
    }
}

fn check(name: &str, role: &str, ttl_ms: i64) -> Result<(), DevicesError> {
    if !is_word(name) {
        return Err(DevicesError::Name(name.to_owned()));
    }
    if !is_word(role) {
        return Err(DevicesError::Role(role.to_owned()));
    }
    if ttl_ms <= 0 {
        return Err(DevicesError::Lifetime(ttl_ms));
    }
    Ok(())
}

/// `[a-z0-9][a-z0-9-]{0,62}`, and not the word that stands for the hub itself.
fn is_word(text: &str) -> bool {
    let letters = text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    letters && (1..=63).contains(&text.len()) && !text.starts_with('-') && text != "hub"
}
