//! Every command of every guide is one that the programs take, with flags that they know.

use crate::warehouse::{Done, program};
use anyhow::{Context as _, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A command as a guide has it: which program, and what follows.
type Typed = (String, Vec<String>);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).to_owned()
}

fn guides() -> anyhow::Result<Vec<PathBuf>> {
    let mut found = vec![root().join("README.md"), root().join("hub/src/http/README.md")];
    let mut folders = vec![root().join("deploy")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
            if path.is_dir() {
                folders.push(path);
            } else if ["md", "service", "yml", "toml"].contains(&ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Commands in a text: from the program's name to the end of the line, the code or the quote.
fn commands(text: &str) -> Vec<Typed> {
    let mut found = Vec::new();
    for line in text.lines() {
        for (start, _) in line.match_indices("tt-") {
            let before = line[..start].chars().next_back();
            if !before.is_none_or(|c| " `'/".contains(c)) {
                continue;
            }
            let end = line[start..]
                .find(['`', '\'', '#', '|', ';', ')', ',', ':'])
                .map_or(line.len(), |end| start + end);
            let mut words = line[start..end].split_whitespace();
            let name = words.next().unwrap_or_default();
            let rest: Vec<String> = words.map(str::to_owned).collect();
            if ["tt-hub", "tt-edge"].contains(&name) && !rest.is_empty() {
                found.push((name.to_owned(), rest));
            }
        }
    }
    found
}

/// Words that come first on the lines of a part of the help.
fn listed(help: &str) -> BTreeSet<String> {
    let lines = help.lines().skip_while(|line| !line.starts_with("Commands:")).skip(1);
    let lines = lines.take_while(|line| !line.is_empty());
    lines.filter_map(|line| Some(line.split_whitespace().next()?.to_owned())).collect()
}

/// The help of commands, asked for once each.
#[derive(Default)]
struct Help(BTreeMap<Vec<String>, String>);

impl Help {
    fn of(&mut self, name: &str, words: &[String]) -> anyhow::Result<&str> {
        let key: Vec<String> = std::iter::once(name.to_owned()).chain(words.iter().cloned()).collect();
        if !self.0.contains_key(&key) {
            let mut args: Vec<&str> = words.iter().map(String::as_str).collect();
            args.push("--help");
            let role = name.strip_prefix("tt-").context("a program of ours")?;
            let said = program().say(role, Path::new("."), &args)?;
            ensure!(said.code == 0, "{key:?} --help: {said:?}");
            self.0.insert(key.clone(), said.out);
        }
        self.0.get(&key).map(String::as_str).context("just put there")
    }

    /// What is wrong with a command; None when the program takes it.
    fn wrong(&mut self, (name, rest): &Typed) -> anyhow::Result<Option<String>> {
        let sure = |word: &String| word.chars().all(|c| c.is_ascii_lowercase() || c == '-');
        let mut path: Vec<String> = Vec::new();
        loop {
            let below = listed(self.of(name, &path)?);
            match rest.get(path.len()) {
                Some(word) if below.contains(word) => path.push(word.clone()),
                // Prose after the program's name is no command.
                _ if path.is_empty() => return Ok(None),
                Some(word)
                    if !below.is_empty() && sure(word) && !word.starts_with('-') && path.len() == 1 =>
                {
                    return Ok(Some(format!("{path:?} has no {word}")));
                }
                _ => break,
            }
        }
        let help = self.of(name, &path)?.to_owned();
        let flags = rest.iter().filter(|word| word.starts_with("--") && word.len() > 2);
        let flags = flags.map(|word| word.trim_end_matches(['.', '*', '"', '(']));
        let unknown =
            flags.filter(|flag| !help.split([' ', ',', '\n', '=', '[', ']']).any(|word| word == *flag));
        let unknown: Vec<&str> = unknown.collect();
        Ok((!unknown.is_empty()).then(|| format!("{path:?} does not know {unknown:?}")))
    }
}

#[test]
fn every_command_in_a_guide_is_one_that_the_programs_take() -> Done {
    let (mut help, mut wrong, mut count) = (Help::default(), Vec::new(), 0);
    for guide in guides()? {
        for typed in commands(&fs::read_to_string(&guide)?) {
            count += 1;
            if let Some(what) = help.wrong(&typed)? {
                wrong.push(format!("{}: {} {}: {what}", guide.display(), typed.0, typed.1.join(" ")));
            }
        }
    }
    ensure!(count > 80, "only {count} commands were found");
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[test]
fn what_no_program_takes_is_noticed() -> Done {
    let mut help = Help::default();
    let typed = commands(
        "`tt-hub backup --sideways` and sudo -u x tt-edge sync --timeout 5 # fine\ntt-hub conflicts burn",
    );
    let said: Vec<bool> =
        typed.iter().map(|one| Ok(help.wrong(one)?.is_some())).collect::<anyhow::Result<_>>()?;
    ensure!(said == [true, false, true], "{typed:?}: {said:?}");
    Ok(())
}

#[test]
fn every_link_in_a_guide_leads_to_a_file() -> Done {
    let mut count = 0;
    for guide in guides()?.iter().filter(|guide| guide.extension().is_some_and(|ending| ending == "md")) {
        let text = fs::read_to_string(guide)?;
        for link in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            if !link.starts_with("http") && !link.is_empty() {
                count += 1;
                let target = guide.parent().context("a folder")?.join(link);
                ensure!(target.exists(), "{}: {link} is not there", guide.display());
            }
        }
    }
    ensure!(count > 10, "only {count} links were found");
    Ok(())
}
