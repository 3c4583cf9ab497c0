//! Manual pages out of the same definitions as `--help`: one for the program and one for each subcommand.

use clap::Command;
use clap_mangen::Man;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What every page ends with, and no `--help` has room for.
const ENDING: &str = ".SH EXIT STATUS
0 all is well; 1 the command failed, or what it looked at is not well; 2 the command line was not understood.
";

/// A page, by the name of its file.
struct Page {
    file: String,
    roff: Vec<u8>,
}

/// Writes the pages of a program into a folder, which is made when it is missing. Gives what was written.
///
/// # Errors
/// When a file cannot be written.
pub fn write(program: Command, folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut program = program.disable_help_subcommand(true);
    program.build();
    let mut pages = Vec::new();
    collect(&program, None, &mut pages)?;
    // For everybody to read, and made again by the same command: no durable write.
    fs::create_dir_all(folder)?;
    let put = |page: &Page| {
        let path = folder.join(&page.file);
        fs::write(&path, &page.roff).map(|()| path)
    };
    pages.iter().map(put).collect()
}

fn collect(command: &Command, above: Option<&str>, pages: &mut Vec<Page>) -> io::Result<()> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let mut roff = Vec::new();
    Man::new(command.clone()).title(name.to_uppercase()).render(&mut roff)?;
    roff.extend_from_slice(ENDING.as_bytes());
    if let Some(above) = above {
        roff.extend_from_slice(format!(".SH SEE ALSO\n.BR {above} (1)\n").as_bytes());
    }
    pages.push(Page { file: format!("{name}.1"), roff });
    let below = command.get_subcommands().filter(|below| !below.is_hide_set());
    below.into_iter().try_for_each(|below| collect(below, Some(&name), pages))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Arg;

    #[test]
    fn every_visible_subcommand_has_a_page_and_hidden_ones_have_none() {
        let of = |name: &'static str| Command::new(name).about("Does it");
        let migrate = of("migrate").subcommand(of("up").arg(Arg::new("FILE")));
        let program = of("tt").subcommand(migrate).subcommand(of("inner").hide(true));
        let folder = tempfile::tempdir().unwrap();
        let pages = write(program, &folder.path().join("man1")).unwrap();
        let names: Vec<_> = pages.iter().map(|page| page.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["tt.1", "tt-migrate.1", "tt-migrate-up.1"]);
        let up = std::fs::read_to_string(&pages[2]).unwrap();
        for part in [".TH TT-MIGRATE-UP 1", "Does it", "FILE", ".SH EXIT STATUS", ".BR tt-migrate (1)"] {
            assert!(up.contains(part), "{part}: {up}");
        }
    }
}
