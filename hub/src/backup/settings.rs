//! The `[backup]` part of `hub.toml`: the site's time zone, the tiers and the vaults.
//!
//! What is not written has its default. A value that cannot work is refused when the settings are read, not at
//! two in the morning.

mod s3;

use super::tier::{TIERS, Tier, TierPlan};
use super::webhook;
use super::zone::Zone;
#[cfg(not(feature = "s3"))]
pub(crate) use s3::NOT_BUILT_IN;
pub(crate) use s3::S3Settings;
#[cfg(feature = "s3")]
pub(crate) use s3::is_loopback;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

/// As written.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    zone: String,
    hourly: Written,
    daily: Written,
    weekly: Written,
    monthly: Written,
    yearly: Written,
    before_restore: BeforeRestore,
    alert_command: Vec<String>,
    alert_webhook: String,
    alert_webhook_plain: bool,
    vault: Vec<VaultSettings>,
}

/// Which copies of what was there before a restore are kept: the newest ones, and all young ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct BeforeRestore {
    pub(crate) keep: usize,
    pub(crate) days: i64,
}

impl Default for BeforeRestore {
    fn default() -> Self {
        Self { keep: 3, days: 30 }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Written {
    keep: Option<usize>,
    at: Option<String>,
}

/// One vault.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct VaultSettings {
    pub(crate) name: String,
    path: Option<PathBuf>,
    s3: Option<S3Settings>,
    #[serde(default = "every_tier")]
    pub(crate) tiers: Vec<Tier>,
}

/// Where a vault is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place<'s> {
    /// Relative ones are below the hub's folder.
    Folder(&'s Path),
    Bucket(&'s S3Settings),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => path.display().fmt(out),
            Self::Bucket(S3Settings { endpoint, bucket, prefix, .. }) => {
                write!(out, "{endpoint}/{bucket}/{prefix}")
            }
        }
    }
}

impl VaultSettings {
    /// Where it is; the error says what is wrong with that.
    pub(crate) fn place(&self) -> Result<Place<'_>, String> {
        let name = &self.name;
        match (&self.path, &self.s3) {
            (Some(path), None) => Ok(Place::Folder(path)),
            (None, Some(s3)) => match s3.check() {
                Ok(()) => Ok(Place::Bucket(s3)),
                Err(problem) => Err(format!("the vault {name:?}: {problem}")),
            },
            _ => Err(format!("the vault {name:?} needs either `path` or `s3`")),
        }
    }
}

fn every_tier() -> Vec<Tier> {
    TIERS.map(|plan| plan.tier).to_vec()
}

impl Default for Settings {
    fn default() -> Self {
        let vault = |name: &str, tiers: Vec<Tier>| VaultSettings {
            name: name.to_owned(),
            path: Some(Path::new("backups").join(name)),
            s3: None,
            tiers,
        };
        let [hourly, daily, weekly, monthly, yearly] = TIERS.map(|plan| Written {
            keep: Some(plan.keep),
            at: (plan.tier != Tier::Hourly)
                .then(|| format!("{:02}:{:02}", plan.at / 3_600, plan.at / 60 % 60)),
        });
        Self {
            zone: "system".to_owned(),
            hourly,
            daily,
            weekly,
            monthly,
            yearly,
            before_restore: BeforeRestore::default(),
            alert_command: Vec::new(),
            alert_webhook: String::new(),
            alert_webhook_plain: false,
            vault: vec![
                vault("primary", every_tier()),
                vault("secondary", every_tier()),
                vault("archive", vec![Tier::Monthly, Tier::Yearly]),
            ],
        }
    }
}

impl Settings {
    /// What is wrong with the values, if anything.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.zone()?;
        self.plans()?;
        self.webhook()?;
        if self.before_restore.keep == 0 {
            return Err(
                "before_restore: `keep = 0` cannot be: the newest one undoes the last restore".to_owned()
            );
        }
        let mut names = BTreeSet::new();
        let mut places = BTreeSet::new();
        for vault in &self.vault {
            let VaultSettings { name, tiers, .. } = vault;
            let is_plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
            if name.is_empty() || !name.chars().all(is_plain) {
                return Err(format!("{name:?} is no name for a vault: use letters, digits and dashes"));
            }
            if !names.insert(name) || !places.insert(vault.place()?.to_string()) {
                return Err(format!("the vault {name:?} has the name or the place of another one"));
            }
            if tiers.is_empty() {
                return Err(format!("the vault {name:?} takes no tier: name some, or leave `tiers` out"));
            }
        }
        match self
            .plans()?
            .iter()
            .find(|plan| !self.vault.iter().any(|vault| vault.tiers.contains(&plan.tier)))
        {
            Some(plan) => Err(format!("no vault takes {} backups: add one", plan.tier)),
            None => Ok(()),
        }
    }

    /// Which copies of what was there before a restore are kept.
    pub(crate) const fn before_restore(&self) -> BeforeRestore {
        self.before_restore
    }

    /// What is run when something is wrong: a program and its arguments.
    pub(crate) fn alert_command(&self) -> &[String] {
        &self.alert_command
    }

    /// Where problems are posted to.
    pub(super) fn webhook(&self) -> Result<Option<ureq::http::Uri>, String> {
        let Self { alert_webhook: text, alert_webhook_plain: plain, .. } = self;
        (!text.is_empty()).then(|| webhook::address(text, *plain)).transpose()
    }

    pub(crate) fn zone(&self) -> Result<Zone, String> {
        Zone::named(&self.zone)
    }

    /// The tiers, finest first.
    pub(crate) fn plans(&self) -> Result<[TierPlan; 5], String> {
        let mut plans = TIERS;
        for plan in &mut plans {
            let written = match plan.tier {
                Tier::Hourly => &self.hourly,
                Tier::Daily => &self.daily,
                Tier::Weekly => &self.weekly,
                Tier::Monthly => &self.monthly,
                Tier::Yearly => &self.yearly,
            };
            plan.keep = written.keep.unwrap_or(plan.keep);
            if let Some(at) = &written.at {
                let tier = plan.tier;
                plan.at = time_of_day(at).filter(|_| tier != Tier::Hourly).ok_or_else(|| {
                    format!("{tier}: `at = {at:?}` cannot be: daily and coarser tiers have one, \"HH:MM\"")
                })?;
            }
        }
        Ok(plans)
    }

    /// The vaults in order.
    pub(crate) fn vaults(&self) -> &[VaultSettings] {
        &self.vault
    }
}

fn time_of_day(text: &str) -> Option<i64> {
    let (hour, minute) = text.split_once(':')?;
    let number = |text: &str, end: i64| {
        let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<i64>().ok().filter(|number| digits && *number < end)
    };
    Some(number(hour, 24)? * 3_600 + number(minute, 60)? * 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_wins_and_what_cannot_be_is_refused() {
        let read = |text: &str| toml::from_str::<Settings>(text).unwrap();
        assert_eq!(read(""), Settings::default());
        assert_eq!(Settings::default().check(), Ok(()));
        let settings = read("zone = \"UTC\"\nhourly = { keep = 3 }\ndaily = { at = \"23:30\" }");
        let plans = settings.plans().unwrap();
        assert_eq!((plans[0].keep, plans[1].keep, plans[1].at), (3, 30, 84_600));
        for (text, said) in [
            ("zone = \"Nowhere/Land\"", "Nowhere/Land"),
            ("daily = { at = \"2:00\" }", "daily"),
            ("daily = { at = \"24:00\" }", "HH:MM"),
            ("alert_webhook = \"http://hooks.example.com/\"", "https"),
            ("hourly = { at = \"00:30\" }", "hourly"),
            ("vault = []", "no vault takes hourly"),
            ("vault = [{ name = \"a/b\", path = \"x\" }]", "a/b"),
            ("vault = [{ name = \"a\", path = \"x\" }, { name = \"a\", path = \"y\" }]", "of another"),
            ("vault = [{ name = \"a\", path = \"x\", tiers = [\"daily\"] }]", "no vault takes hourly"),
            ("vault = [{ name = \"a\", path = \"x\", tiers = [] }]", "takes no tier"),
            ("vault = [{ name = \"a\", path = \"x\" }, { name = \"b\", path = \"x\" }]", "the place of"),
            ("vault = [{ name = \"a\" }]", "either `path` or `s3`"),
            (
                "vault = [{ name = \"a\", s3 = { endpoint = \"http://x.example\", bucket = \"b\" } }]",
                "the vault \"a\": endpoint",
            ),
        ] {
            let error = read(text).check().unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
        assert!(toml::from_str::<Settings>("weekly = { kept = 3 }").is_err());
    }
}
