//! A soak of a few faults, so that `tt-soak` never rots: the command itself, bounded by a number of faults and not by
//! time, with a fixed seed.

use std::process::Command;

#[test]
fn a_soak_of_a_few_faults_loses_nothing_and_doubles_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tt-soak"));
    command.args(["--faults", "8", "--seed", "1", "--devices", "3", "--dir"]).arg(folder.path());
    let output = command.output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout);
    let last = said.lines().last().unwrap_or_default();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(last.starts_with("soak: ") && last.contains(" 8 faults, "), "{last}");
    assert!(last.ends_with("nothing lost, nothing doubled (seed 1)"), "{last}");
    let left = std::fs::read_dir(folder.path()).expect("a folder").count();
    assert_eq!(left, 0, "its folder goes when all is well");
}
