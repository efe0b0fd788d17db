//! `gateway`: reads its configuration, starts the shards and runs the control plane.
#![forbid(unsafe_code)]

use std::{
    env,
    io::{self, BufRead, Write},
    panic,
    path::{Path, PathBuf},
    process::{self, ExitCode},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use clap_mangen::Man;
use engine::{
    topic::{encoded::SUB_BYTES_MAX, pattern::Pattern},
    unit::parse_duration,
};
use gateway::{
    access::mint::Minted,
    admin_key::{self, Digest},
    config::{self, Origin},
    document::{environment::Environment, value::json},
    fit, livez,
    logs::{self, Format},
    source::{Source, websocket::explain::Explained},
    system::{self, Machine},
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The program's name in packages and images.
const PACKAGED: &str = "fanwire";

const EXAMPLES: &str = "\
Examples:
  gateway                                   the demo; its page is at http://127.0.0.1:9002/
  gateway --check --config gateway.toml     what this file amounts to
  gateway --config gateway.toml             runs it
  gateway --map venue.toml <messages.ndjson what a venue's messages become, or why not
  gateway key                               a new key for the admin listener
  gateway token --config gateway.toml --sub alice --subscribe 'fx.*'  a token for trying things out
  RUST_LOG=debug gateway --log-format json  with more to read

Once every shard listens, the first line on stdout says where:
  listening data=127.0.0.1:9001 admin=127.0.0.1:9002

Environment:
  FANWIRE_SERVER__DATA=127.0.0.1:7001  sets data in [server], in place of what the file says; so does every key of a section
  {env:NAME}                           in a text of the file stands for the variable NAME

Signals:
  SIGTERM, SIGINT  sends every client away within [server] drain, then ends; a second one ends at once
  SIGHUP           reads certificates again, and the configuration, as POST /reload does

Exit codes:
  0  it ended cleanly, --check found nothing wrong, or --health an answer
  1  it failed while it ran, or this machine lacks what it needs, or --health found nobody
  2  wrong arguments, or a configuration that cannot be";

/// Takes updates in and sends the newest value of every topic to very many WebSocket clients.
///
/// Without arguments it runs a demo: figures of this machine and a made-up ticker.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES, args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Runs this configuration instead of the demo; FANWIRE_CONFIG may name it too
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    /// Checks the configuration, prints what it amounts to as TOML, and ends
    #[arg(long)]
    check: bool,
    /// Prints the keys whose change a reload takes in place of the configuration
    #[arg(long, requires = "check")]
    reloadable: bool,
    /// Asks the gateway that runs with this configuration whether it lives, and ends with 0 if it does
    #[arg(long)]
    health: bool,
    /// Prints what each line of stdin, a message, becomes by the maps of this configuration, or why not, and ends
    #[arg(long, value_name = "FILE.toml")]
    map: Option<PathBuf>,
    /// Prints every configuration key with its default, its range and what it decides, and ends
    #[arg(long)]
    print_reference: bool,
    /// Prints the manual page of packages, and ends
    #[arg(long, hide = true)]
    print_man: bool,
    /// Prints what completes a command line of packages in this shell, and ends
    #[arg(long, hide = true, value_name = "SHELL")]
    print_completions: Option<Shell>,
    /// Writes logs on stderr in this form; [log] filter or RUST_LOG chooses what is logged
    #[arg(long, value_enum, default_value_t = Format::Text)]
    log_format: Format,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Prints a new random key for the admin listener, and the sha256 of it that [[admin.key]] takes
    Key,
    /// Prints a token that clients may show, signed with the first secret of [[access.key]], for trying things out
    Token(TokenArgs),
}

#[derive(Debug, clap::Args)]
struct TokenArgs {
    /// Whose keys and rules; FANWIRE_CONFIG may name it too
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    /// Who it is of
    #[arg(long, value_name = "NAME", value_parser = subject)]
    sub: Option<String>,
    /// What it may subscribe to; as often as there is something
    #[arg(long, value_name = "PATTERN", value_parser = pattern)]
    subscribe: Vec<Pattern>,
    /// What it may publish
    #[arg(long, value_name = "PATTERN", value_parser = pattern)]
    publish: Vec<Pattern>,
    /// What is subscribed for it
    #[arg(long, value_name = "PATTERN", value_parser = pattern)]
    auto: Vec<Pattern>,
    /// How long it holds
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = ttl)]
    ttl: Duration,
}

/// Tokens end at whole seconds.
fn ttl(text: &str) -> Result<Duration, String> {
    let lives = parse_duration(text)?;
    if lives.as_secs() > 0 { Ok(lives) } else { Err("a token holds for 1s or more".to_owned()) }
}

fn subject(text: &str) -> Result<String, String> {
    let bytes = text.len();
    if (1..=SUB_BYTES_MAX).contains(&bytes) {
        Ok(text.to_owned())
    } else {
        Err(format!("{bytes} bytes; write 1 to {SUB_BYTES_MAX}"))
    }
}

fn pattern(text: &str) -> Result<Pattern, String> {
    Pattern::parse(text).map_err(|bad| bad.to_string())
}

/// Ends the process with a code of PROTOCOL.md, "Processes".
struct Failure {
    code: u8,
    text: String,
}

impl Failure {
    fn usage(text: impl ToString) -> Self {
        Self { code: 2, text: text.to_string() }
    }

    /// `text` may quote what comes from outside, as from certificates.
    fn run_time(text: impl ToString) -> Self {
        Self { code: 1, text: logs::one_line(&text.to_string()) }
    }
}

fn main() -> ExitCode {
    match start(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("gateway: {}", failure.text);
            ExitCode::from(failure.code)
        }
    }
}

/// The command line under the name that packages give the program.
fn packaged() -> clap::Command {
    let examples = EXAMPLES.replace("  gateway ", "  fanwire ").replace(" gateway --", " fanwire --");
    Args::command().name(PACKAGED).bin_name(PACKAGED).after_help(examples)
}

fn start(args: &Args) -> Result<(), Failure> {
    if let Some(Command::Key) = args.command {
        let key = admin_key::generate();
        println!("{key}\nsha256 = \"{}\"", Digest::of(key.as_bytes()));
        return Ok(());
    }
    if let Some(Command::Token(token)) = &args.command {
        return print_token(token);
    }
    if let Some(path) = &args.map {
        return explain(path);
    }
    if args.print_man {
        let page = Man::new(packaged()).manual("Fanwire");
        return page.render(&mut io::stdout()).map_err(Failure::run_time);
    }
    if let Some(shell) = args.print_completions {
        clap_complete::generate(shell, &mut packaged(), PACKAGED, &mut io::stdout());
        return Ok(());
    }
    if args.print_reference {
        print!("{}", config::reference());
        return Ok(());
    }
    // Whoever asks for certificates to be read again before they were read must not end the process.
    signal_hook::flag::register(signal_hook::consts::SIGHUP, Arc::default()).map_err(Failure::run_time)?;
    let mut machine = Machine::this().map_err(Failure::run_time)?;
    if !args.health {
        // Who only asks needs no ring, and has no time to wait for one.
        machine.probe();
    }
    let environment = Environment::of_process().map_err(Failure::usage)?;
    let origin = Origin { path: named(args.config.as_ref()), environment };
    let config = origin.load(&machine).map_err(Failure::usage)?;
    if args.health {
        return livez::ask(&config).map_err(Failure::run_time);
    }
    if args.reloadable {
        print!("{}", config::reloadable());
        return Ok(());
    }
    if args.check {
        let of_tls = config.server.tls.iter().flat_map(gateway::tls::server::warnings);
        for warning in config.server.warnings().into_iter().chain(of_tls) {
            eprintln!("gateway: warning: {}", logs::one_line(&warning));
        }
        fit::room(&config, &machine).map_err(Failure::run_time)?;
        print!("{}", config.render(&machine));
        return Ok(());
    }
    logs::start(args.log_format, &config.log.filter).map_err(Failure::usage)?;
    system::use_small_pages();
    fit::check(&config, &mut machine).map_err(Failure::run_time)?;
    end_on_panic();
    let ended = gateway::run::run(config, origin, &machine);
    logs::tell_all_left_out();
    ended.map_err(Failure::run_time)
}

/// What messages on stdin become.
fn explain(path: &Path) -> Result<(), Failure> {
    let machine = Machine::this().map_err(Failure::run_time)?;
    let environment = Environment::of_process().map_err(Failure::usage)?;
    let origin = Origin { path: Some(path.to_owned()), environment };
    let config = origin.load(&machine).map_err(Failure::usage)?;
    let mut sources = Vec::new();
    for (source, fresh) in config.sources.iter().zip(&config.freshness) {
        if let Source::Websocket(source) = source {
            sources.push((json(&fresh.name), Explained::new(source)));
        }
    }
    if sources.is_empty() {
        return Err(Failure::usage("there is no [[source]] of kind = \"websocket\", which has a map"));
    }
    let is_one = sources.len() == 1;
    let mut out = io::stdout().lock();
    for (number, message) in io::stdin().lock().lines().enumerate() {
        let message = message.map_err(Failure::run_time)?;
        for (name, explained) in sources.iter_mut().filter(|_| !message.trim().is_empty()) {
            let of = if is_one { String::new() } else { format!("\"source\":{name},") };
            for line in explained.lines(&message, &format!("\"line\":{},{of}", number + 1)) {
                writeln!(out, "{line}").map_err(Failure::run_time)?;
            }
        }
    }
    Ok(())
}

/// The file that is named by the command line, else by the environment. A path need not be UTF-8.
fn named(by_line: Option<&PathBuf>) -> Option<PathBuf> {
    by_line.cloned().or_else(|| env::var_os("FANWIRE_CONFIG").map(PathBuf::from))
}

fn print_token(args: &TokenArgs) -> Result<(), Failure> {
    let machine = Machine::this().map_err(Failure::run_time)?;
    let environment = Environment::of_process().map_err(Failure::usage)?;
    let path = named(args.config.as_ref())
        .ok_or_else(|| Failure::usage("name the configuration with the key: --config FILE.toml"))?;
    let origin = Origin { path: Some(path), environment };
    let config = origin.load(&machine).map_err(Failure::usage)?;
    let given = config.access.tokens.read_keys().map_err(Failure::usage)?;
    let key = given.keys.iter().find(|key| key.signs.is_some());
    let key = key.ok_or_else(|| Failure::usage("there is no [[access.key]] with a secret"))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(Failure::run_time)?;
    let minted = Minted {
        sub: args.sub.clone(),
        subscribe: args.subscribe.clone(),
        publish: args.publish.clone(),
        auto: args.auto.clone(),
        now_s: now.as_secs(),
        lives_s: args.ttl.as_secs(),
        ..Minted::default()
    };
    println!("{}", minted.sign(&config.access.tokens.rules, key).map_err(Failure::run_time)?);
    Ok(())
}

/// A thread that is gone would leave its clients unserved: ending the process lets its supervisor start another.
fn end_on_panic() {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        print(info);
        process::exit(1);
    }));
}
