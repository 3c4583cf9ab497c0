//! Tells somebody: runs the site's own command with the problems on its input, one line each.
//!
//! The command is a program and its arguments, never a shell's line. It has half a minute; one that hangs is
//! ended, and a failure to tell never fails what was to be told.

use super::record::{Kind, Problem};
use std::io::Write as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Half a minute.
const LOOKS: u32 = 600;

/// Runs the command, if there is one and something to tell. The error says why nobody may have been told.
pub(crate) fn tell(command: &[String], problems: &[Problem]) -> Result<(), String> {
    tell_within(command, problems, LOOKS)
}

fn tell_within(command: &[String], problems: &[Problem], looks: u32) -> Result<(), String> {
    let (Some((program, arguments)), Some(worst)) =
        (command.split_first(), problems.iter().map(|problem| problem.kind).max())
    else {
        return Ok(());
    };
    let failed =
        |what: String| format!("the alert command {program} {what}: see to it, nobody may have been told");
    let mut child = Command::new(program)
        .args(arguments)
        .env("TT_ALERT_KIND", Kind::word(worst))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| failed(format!("cannot be run ({error})")))?;
    let lines: String = problems.iter().map(|problem| format!("{problem}\n")).collect();
    if let Some(mut input) = child.stdin.take() {
        // A command that does not read its input has been told by its start, and what it is told fits a pipe or is cut.
        thread::spawn(move || drop(input.write_all(lines.as_bytes())));
    }
    match wait(&mut child, looks).map_err(|error| failed(format!("is lost ({error})")))? {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(failed(format!("failed ({status})"))),
        None => Err(failed("hung and was ended".to_owned())),
    }
}

/// Waits for its end. None when it had to be ended.
fn wait(child: &mut Child, looks: u32) -> std::io::Result<Option<ExitStatus>> {
    for _ in 0..looks {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        thread::sleep(LOOK_EVERY);
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Vec<String> {
        ["sh", "-c", script].map(str::to_owned).to_vec()
    }

    fn problems() -> Vec<Problem> {
        let critical = Problem { kind: Kind::Critical, what: "b is\nlost".into() };
        vec![Problem::warning("a is gone".into()), critical]
    }

    #[test]
    fn the_command_is_told_every_problem_and_the_worst_kind() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("told");
        let script = format!("(echo $TT_ALERT_KIND; cat) > {}", out.display());
        tell(&shell(&script), &problems()).unwrap();
        let told = std::fs::read_to_string(out).unwrap();
        assert_eq!(told, "CRITICAL\nWARNING: a is gone\nCRITICAL: b is lost\n");
        assert_eq!(tell(&shell("exit 1"), &[]), Ok(()), "nothing to tell, nobody is run");
        assert_eq!(tell(&[], &problems()), Ok(()), "nobody to tell");
    }

    #[test]
    fn a_command_that_fails_hangs_or_is_not_there_is_said_so() {
        let error = |command: &[String], looks| tell_within(command, &problems(), looks).unwrap_err();
        assert!(error(&shell("exit 3"), LOOKS).contains("exit status: 3"));
        assert!(error(&["/not/there".into()], LOOKS).contains("/not/there cannot be run"));
        assert!(error(&shell("exec sleep 600"), 2).contains("hung"));
    }
}
