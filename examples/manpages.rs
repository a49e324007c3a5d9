//! manpages DIRECTORY DATE: writes a manual page for every command. `make install` runs it; it isn't installed itself.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::Command;
use clap_mangen::Man;
use roff::{Roff, bold, roman};
use thinpool::cli::{self, exit, manual};

/// Commands that administer the system: man-pages(7).
const SECTION: &str = "8";
/// What others have to tell on what thinpool is made of.
const OTHERS: &str = "dmsetup(8), lvm(8), thin_check(8)";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [directory, date] = arguments.as_slice() else {
        eprintln!("usage: manpages DIRECTORY DATE");
        return ExitCode::from(2);
    };
    let pages = Pages { directory: Path::new(directory), date };
    match pages.write(&cli::command(), &[]) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("manpages: {directory}: {error}");
            ExitCode::FAILURE
        }
    }
}

struct Pages<'a> {
    directory: &'a Path,
    date: &'a str,
}

impl Pages<'_> {
    /// Writes the page of a command and those of the commands below it.
    fn write(&self, command: &Command, above: &[&Command]) -> io::Result<()> {
        let file = self.directory.join(format!("{}.{SECTION}", name(command)));
        Page { command, above, date: self.date }.write(&mut File::create(file)?)?;
        let above: Vec<&Command> = above.iter().copied().chain([command]).collect();
        visible(command).try_for_each(|below| self.write(below, &above))
    }
}

/// A page's name: that of the command and all above it, joined by dashes.
fn name(command: &Command) -> &str {
    command.get_display_name().unwrap_or(command.get_name())
}

fn visible(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|command| !command.is_hide_set())
}

struct Page<'c> {
    command: &'c Command,
    above: &'c [&'c Command],
    date: &'c str,
}

impl Page<'_> {
    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let man = Man::new(self.command.clone())
            .title(name(self.command).to_uppercase())
            .section(SECTION)
            .date(self.date)
            .source(concat!("thinpool ", env!("CARGO_PKG_VERSION")))
            .manual("System administration");
        man.render_title(out)?;
        man.render_name_section(out)?;
        man.render_synopsis_section(out)?;
        man.render_description_section(out)?;
        if visible(self.command).next().is_some() {
            man.render_subcommands_section(out)?;
        }
        man.render_options_section(out)?;
        self.rest().to_writer(out)
    }

    /// The sections that clap knows nothing of.
    fn rest(&self) -> Roff {
        let mut roff = Roff::new();
        let examples = manual::examples(&self.words().join(" "));
        if !examples.is_empty() {
            roff.control("SH", ["EXAMPLES"]);
        }
        for manual::Example { line, does } in examples {
            list_item(&mut roff, line, does);
        }
        roff.control("SH", ["ENVIRONMENT"]);
        for (variable, tells) in manual::ENVIRONMENT {
            list_item(&mut roff, variable, tells);
        }
        roff.control("SH", ["FILES"]);
        for (file, tells) in manual::FILES {
            list_item(&mut roff, file, tells);
        }
        roff.control("SH", ["EXIT STATUS"]);
        for (code, meaning) in exit::MEANINGS {
            list_item(&mut roff, &code.to_string(), meaning);
        }
        roff.control("SH", ["SEE ALSO"]);
        // Names of pages aren't words that could be broken.
        roff.control("nh", []);
        roff.text([roman(self.related().join(", "))]);
        roff
    }

    /// What is typed between `thinpool` and the command's arguments.
    fn words(&self) -> Vec<&str> {
        self.above.iter().chain([&self.command]).skip(1).map(|command| command.get_name()).collect()
    }

    /// The pages above this one, beside it and below it.
    fn related(&self) -> Vec<String> {
        let page = |command: &&Command| format!("{}({SECTION})", name(command));
        let beside = self.above.last().into_iter().flat_map(|parent| visible(parent));
        let beside = beside.filter(|command| name(command) != name(self.command));
        let own = self.above.iter().copied().chain(beside).chain(visible(self.command));
        own.map(|command| page(&command)).chain([OTHERS.to_owned()]).collect()
    }
}

fn list_item(roff: &mut Roff, what: &str, tells: &str) {
    roff.control("TP", []);
    roff.text([bold(what)]);
    roff.text([roman(tells)]);
}
