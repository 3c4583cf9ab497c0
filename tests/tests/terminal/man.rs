//! Every command has a manual page that says what its `--help` says.

use crate::warehouse::{Done, program};
use anyhow::{Context as _, ensure};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// The commands that the help of a command lists.
pub(crate) fn below(role: &str, path: &[String]) -> anyhow::Result<Vec<String>> {
    let mut args: Vec<&str> = path.iter().map(String::as_str).collect();
    args.push("--help");
    let help = program().must(role, Path::new("."), &args)?;
    let listed = help.lines().skip_while(|line| !line.starts_with("Commands:")).skip(1);
    let listed = listed.take_while(|line| line.starts_with("  ")).filter(|line| !line.starts_with("   "));
    let names = listed.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help");
    Ok(names.map(str::to_owned).collect())
}

/// Every visible command of a program, and those below them.
pub(crate) fn commands(role: &str) -> anyhow::Result<Vec<Vec<String>>> {
    let mut found = vec![Vec::new()];
    let mut at = 0;
    while let Some(path) = found.get(at).cloned() {
        let below = below(role, &path)?.into_iter().map(|name| [&path[..], &[name]].concat());
        found.extend(below);
        at += 1;
    }
    Ok(found)
}

#[test]
fn every_command_has_a_page_with_its_flags() -> Done {
    for role in ["hub", "edge"] {
        let folder = tempfile::tempdir()?;
        let pages = folder.path().join("share/man1");
        let said = program().must(role, folder.path(), &["man", pages.to_str().context("words")?])?;
        let mut wanted = BTreeSet::new();
        for command in commands(role)? {
            let name =
                std::iter::once(format!("tt-{role}")).chain(command.clone()).collect::<Vec<_>>().join("-");
            let page = fs::read_to_string(pages.join(format!("{name}.1"))).with_context(|| name.clone())?;
            ensure!(page.contains(&format!(".TH {} 1", name.to_uppercase())), "{name}: {page}");
            ensure!(page.contains(".SH EXIT STATUS"), "{name}: {page}");
            let mut args: Vec<&str> = command.iter().map(String::as_str).collect();
            args.push("--help");
            let help = program().must(role, Path::new("."), &args)?;
            let spelled = page.replace("\\-", "-");
            for flag in help.split_whitespace().filter(|word| word.starts_with("--") && word.len() > 2) {
                let flag = flag.trim_matches(['[', ']', ',', '.', '`', ':', ';', ')']);
                ensure!(spelled.contains(flag), "{name} does not name {flag}: {page}");
            }
            wanted.insert(format!("{name}.1"));
        }
        let mut found = BTreeSet::new();
        for entry in fs::read_dir(&pages)? {
            let entry = entry?;
            found.insert(entry.file_name().to_string_lossy().into_owned());
            ensure!(
                entry.metadata()?.permissions().mode() & 0o444 == 0o444,
                "everybody may read it: {entry:?}"
            );
        }
        ensure!(found == wanted, "{found:?} and not {wanted:?}");
        ensure!(said.starts_with(&wanted.len().to_string()), "{said}");
    }
    Ok(())
}
