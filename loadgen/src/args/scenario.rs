//! `--scenario`: a load as a TOML file whose keys are the command line's flags, with `_` for `-`.

use std::{collections::BTreeMap, fs};

use clap::{ArgAction, CommandFactory, FromArgMatches, error::ErrorKind, parser::ValueSource};
use toml::{Spanned, Value};

/// Loads that come with the program, simplest first.
const NAMED: [(&str, &str); 16] = [
    ("steady", include_str!("../scenarios/steady.toml")),
    ("storm", include_str!("../scenarios/storm.toml")),
    ("churn", include_str!("../scenarios/churn.toml")),
    ("slow", include_str!("../scenarios/slow.toml")),
    ("restart", include_str!("../scenarios/restart.toml")),
    ("publish", include_str!("../scenarios/publish.toml")),
    ("tokens", include_str!("../scenarios/tokens.toml")),
    ("watchlists", include_str!("../scenarios/watchlists.toml")),
    ("pings", include_str!("../scenarios/pings.toml")),
    ("hostile", include_str!("../scenarios/hostile.toml")),
    ("centrifugo", include_str!("../scenarios/centrifugo.toml")),
    ("socketio", include_str!("../scenarios/socketio.toml")),
    ("phoenix", include_str!("../scenarios/phoenix.toml")),
    ("graphql", include_str!("../scenarios/graphql.toml")),
    ("actioncable", include_str!("../scenarios/actioncable.toml")),
    ("nats", include_str!("../scenarios/nats.toml")),
];

/// Not a flag: what the load is for.
const DESCRIPTION: &str = "description";

/// A file that was read; its keys are not checked yet.
#[derive(Debug)]
pub struct Scenario {
    /// How messages name it.
    name: String,
    text: String,
    table: BTreeMap<String, Spanned<Value>>,
}

/// `arguments` begin with the program's name. What `--scenario` names sets what they do not.
/// A mistake on the command line is clap's error, one in a scenario names the file and line.
pub fn parse_with_scenario<T: CommandFactory + FromArgMatches>(
    arguments: &[String],
) -> Result<T, clap::Error> {
    let command = T::command();
    // What the command line leaves out the scenario may say: only its own words are checked here.
    let lenient = command.clone().mut_args(|argument| argument.required(false));
    let matches = lenient.try_get_matches_from(arguments)?;
    let name = matches.get_one::<String>("scenario");
    let Some(name) = name else { return T::from_arg_matches(&command.try_get_matches_from(arguments)?) };
    let wrong = |why: String| T::command().error(ErrorKind::InvalidValue, why);
    let given = |key: &str| matches.value_source(key) == Some(ValueSource::CommandLine);
    let more = read(name).and_then(|scenario| scenario.flags(&T::command(), given)).map_err(wrong)?;
    let all = arguments.iter().cloned().chain(more);
    let place = |error: clap::Error| {
        wrong(format!("scenario {name}: {}", error.to_string().trim_start_matches("error: ").trim_end()))
    };
    T::from_arg_matches(&command.try_get_matches_from(all).map_err(place)?)
}

/// A named load, or a file: whatever has a `/` or a `.` in it.
pub fn read(name: &str) -> Result<Scenario, String> {
    let text = match NAMED.iter().find(|(known, _)| *known == name) {
        Some((_, text)) => (*text).to_owned(),
        None if name.contains(['/', '.']) => {
            fs::read_to_string(name).map_err(|error| format!("scenario {name}: {error}"))?
        }
        None => {
            let known: Vec<&str> = NAMED.iter().map(|(name, _)| *name).collect();
            let known = known.join(", ");
            return Err(format!("no scenario is named {name}: write one of {known}, or the path of a file"));
        }
    };
    let table = toml::from_str(&text)
        .map_err(|error| format!("scenario {name}: {}", error.to_string().trim_end()))?;
    Ok(Scenario { name: name.to_owned(), text, table })
}

/// `loadgen scenarios`: names with their descriptions, or one whole file.
pub fn show(name: Option<&str>) -> Result<String, String> {
    if let Some(name) = name {
        return read(name).map(|scenario| scenario.text);
    }
    let line = |(name, _): &(&str, &str)| {
        let scenario = read(name)?;
        let description = scenario.table.get(DESCRIPTION).and_then(|text| text.get_ref().as_str());
        Ok(format!("{name:<11} {}\n", description.unwrap_or_default()))
    };
    NAMED.iter().map(line).collect()
}

impl Scenario {
    /// Arguments of `command`, without those that were `given` on the command line.
    pub fn flags(
        &self,
        command: &clap::Command,
        given: impl Fn(&str) -> bool,
    ) -> Result<Vec<String>, String> {
        let mut flags = Vec::new();
        for (key, value) in &self.table {
            let place = |why: String| {
                let line = self.text[..value.span().start].matches('\n').count() + 1;
                format!("scenario {}, line {line}: {why}", self.name)
            };
            if key == DESCRIPTION {
                continue;
            }
            let argument = command.get_arguments().find(|argument| argument.get_id() == key);
            let long = argument.and_then(|argument| argument.get_long()).filter(|_| key != "scenario");
            let (Some(argument), Some(long)) = (argument, long) else {
                return Err(place(format!(
                    "unknown key {key}; keys are the flags of loadgen --help, with _ for -"
                )));
            };
            if given(key) {
                continue;
            }
            let switch = matches!(argument.get_action(), ArgAction::SetTrue);
            let values = match (value.get_ref(), argument.get_action()) {
                (Value::Boolean(on), ArgAction::SetTrue) => {
                    flags.extend(on.then(|| format!("--{long}")));
                    continue;
                }
                (Value::Array(values), ArgAction::Append) => values.as_slice(),
                (Value::Array(_), _) => return Err(place(format!("{key} takes one value, not an array"))),
                (one, _) => std::slice::from_ref(one),
            };
            for value in values {
                let text = text(value).filter(|_| !switch).ok_or_else(|| {
                    place(format!("{key} = {value} is no value of --{long}: write it as in loadgen --help"))
                })?;
                flags.push(format!("--{long}={text}"));
            }
        }
        Ok(flags)
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Args, flags::Flags};

    fn parse(scenario: &str, flags: &[&str]) -> Result<Flags, String> {
        let path = std::env::temp_dir().join(format!("loadgen-scenario-{}.toml", fastrand::u64(..)));
        fs::write(&path, scenario).unwrap();
        let path = path.to_str().unwrap();
        let mut words = vec!["loadgen".to_owned(), "--scenario".into(), path.into()];
        words.extend(flags.iter().map(|word| (*word).to_owned()));
        let parsed = parse_with_scenario::<Flags>(&words);
        fs::remove_file(path).unwrap();
        parsed.map_err(|error| error.to_string())
    }

    #[test]
    fn keys_are_flags_and_the_command_line_holds_before_them() {
        let scenario =
            "connections = 50\nramp = \"2s\"\ntopics = [\"a,b\", \"c\"]\nreconnect = true\nslow = 2.5\n";
        let flags = parse(scenario, &["--connections", "7"]).unwrap();
        assert_eq!((flags.connections, flags.slow, flags.reconnect), (7, 2.5, true));
        assert_eq!(flags.topics, ["a,b", "c"]);
        assert_eq!(parse(scenario, &["--topics", "d"]).unwrap().topics, ["d"]);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (scenario, told) in [
            ("connections = 5\n\nnonsense = 1\n", "line 3: unknown key nonsense"),
            ("ramp = \"2s\"\nconnections = [1]\n", "line 2: connections takes one value"),
            ("reconnect = \"yes\"\n", "line 1: reconnect"),
            ("scenario = \"steady\"\n", "line 1: unknown key scenario"),
            ("ramp = \"2 parsecs\"\n", "2 parsecs"),
            ("ramp = ", "line 1"),
        ] {
            let refusal = parse(scenario, &[]).expect_err(scenario);
            assert!(refusal.contains(told), "{refusal}");
        }
    }

    #[test]
    fn every_named_scenario_can_be_run_and_says_what_it_is_for() {
        let key = std::env::temp_dir().join(format!("loadgen-key-{}", fastrand::u64(..)));
        fs::write(&key, "0123456789abcdef0123456789abcdef").unwrap();
        for (name, _) in NAMED {
            let mut words = vec!["loadgen", "--scenario", name, "--url", "ws://127.0.0.1:9001/ws"];
            if name == "tokens" {
                // Whose tokens, no file can say.
                words.extend(["--token-key", key.to_str().unwrap()]);
            }
            let words: Vec<String> = words.into_iter().map(str::to_owned).collect();
            let flags = parse_with_scenario::<Flags>(&words).unwrap();
            Args::check(flags).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(show(Some(name)).unwrap().contains("description"), "{name}");
        }
        fs::remove_file(key).unwrap();
        assert_eq!(show(None).unwrap().lines().count(), NAMED.len());
    }

    #[test]
    fn an_unknown_name_is_answered_with_those_there_are() {
        assert!(read("stady").unwrap_err().contains("steady, storm"));
    }
}
