//! The `[backup]` part of `hub.toml`: the site's time zone, the tiers and the vaults.
//!
//! What is not written has its default. A value that cannot work is refused when the settings are read, not at
//! two in the morning.

use super::tier::{TIERS, Tier, TierPlan};
use super::webhook;
use super::zone::Zone;
use serde::Deserialize;
use std::collections::BTreeSet;
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
    /// Relative ones are below the hub's folder.
    pub(crate) path: PathBuf,
    #[serde(default = "every_tier")]
    pub(crate) tiers: Vec<Tier>,
}

fn every_tier() -> Vec<Tier> {
    TIERS.map(|plan| plan.tier).to_vec()
}

impl Default for Settings {
    fn default() -> Self {
        let vault = |name: &str, tiers: Vec<Tier>| VaultSettings {
            name: name.to_owned(),
            path: Path::new("backups").join(name),
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
        let mut paths = BTreeSet::new();
        for VaultSettings { name, path, tiers } in &self.vault {
            let is_plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
            if name.is_empty() || !name.chars().all(is_plain) {
                return Err(format!("{name:?} is no name for a vault: use letters, digits and dashes"));
            }
            if !names.insert(name) || !paths.insert(path) {
                return Err(format!("the vault {name:?} has the name or the path of another one"));
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
        ] {
            let error = read(text).check().unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
        assert!(toml::from_str::<Settings>("weekly = { kept = 3 }").is_err());
    }
}
