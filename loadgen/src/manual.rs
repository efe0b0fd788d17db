//! Manual pages, and what completes a command line in a shell, as packages install them: `loadgen man [COMMAND]` and
//! `loadgen completions SHELL`.

use clap::{Arg, Command, CommandFactory, ValueEnum as _};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::{args::Flags, report::compare, search::SearchFlags};

/// The program's name in packages and images.
const PACKAGED: &str = "fanwire-loadgen";

/// The page of the program, or of one of its commands, in roff.
pub fn page(command: Option<&str>) -> Result<String, String> {
    let mut whole = packaged();
    whole.build();
    let chosen = match command {
        None => whole,
        Some(name) => {
            let found = whole.find_subcommand(name).cloned();
            found.ok_or_else(|| format!("no command is named {name}: write one of {}", commands(&whole)))?
        }
    };
    let mut roff = Vec::new();
    Man::new(chosen).manual("Fanwire").render(&mut roff).map_err(|error| error.to_string())?;
    let roff = String::from_utf8(roff).map_err(|error| error.to_string())?;
    Ok(roff.replace("`loadgen ", "`fanwire\\-loadgen "))
}

pub fn completions(shell: Option<&str>) -> Result<String, String> {
    let shell = shell.and_then(|name| Shell::from_str(name, false).ok());
    let shell = shell.ok_or("a shell is missing: write bash, elvish, fish, powershell or zsh")?;
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut packaged(), PACKAGED, &mut script);
    String::from_utf8(script).map_err(|error| error.to_string())
}

/// The whole command line: `main` finds the commands by hand, here they are clap's.
fn packaged() -> Command {
    let under = |command: Command, name| command.name(name).bin_name(format!("{PACKAGED} {name}"));
    let scenario = Arg::new("name").value_name("NAME").help("Prints the whole file of this one");
    let scenarios = Command::new("scenarios").about("Lists the named loads").arg(scenario);
    let schema = Command::new("schema").about("Prints the JSON schema of the report");
    Flags::command().name(PACKAGED).bin_name(PACKAGED).disable_help_subcommand(true).subcommands([
        under(compare::Flags::command(), "compare"),
        under(SearchFlags::command(), "search"),
        under(scenarios, "scenarios"),
        under(schema, "schema"),
    ])
}

fn commands(whole: &Command) -> String {
    whole.get_subcommands().map(Command::get_name).collect::<Vec<_>>().join(", ")
}
