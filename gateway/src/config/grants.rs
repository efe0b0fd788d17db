//! `[access.anonymous]`, `[access.everyone]` and `[[access.role]]`: what is granted beside what tokens grant themselves.

use engine::{
    access::{
        grant::Grant,
        rules::{Granted, ROLES_MAX, Role, Rules},
    },
    keys,
    settings::{Group, Key, Kind},
};

use crate::document::{
    read::{Section, Table},
    when::{self, when},
    write::Text,
};

const PATTERNS: &str = "write a list of patterns, like [\"fx.*\", \"user.{sub}.*\"]";

keys! {
    /// What every token may do besides what it grants itself. In `[access.anonymous]`: what a connection without a token
    /// may do. In `[[access.role]]`: what a token with `when` may do. Grants add up. In a pattern `{sub}` stands for the
    /// encoded subject, `{conn}` for the connection's id.
    pub(super) struct GrantedKeys in "access.everyone" {
        /// What may be subscribed to.
        subscribe: Vec<String> = texts(&[], PATTERNS), example("[\"user.{sub}.*\"]"), reloaded;
        /// What may be published.
        publish: Vec<String> = texts(&[], PATTERNS), example("[\"chat.{sub}\"]"), reloaded;
        /// What is subscribed for the client when it connects, as the subscription `auto`.
        auto: Vec<String> = texts(&[], PATTERNS), example("[\"conn.{conn}\"]"), reloaded;
        /// Milliseconds: a shorter interval is raised to it. A token's own counts first, then the least of its roles',
        /// then everyone's. Default: none.
        interval_ms_min: Option<u64> = count_found(0..=3_600_000), example("1000"), reloaded;
    }
}

/// Of `[[access.role]]`, beside [`GrantedKeys`].
pub(super) const ROLE: Group = Group {
    section: "access.role",
    doc: &["What tokens that say something may do; the keys of `[access.everyone]` beside `when`. At most 64."],
    keys: &[Key::new(
        "when",
        Kind::Own,
        &[
            "Pointers into the token, and what must stand there: text, a whole number, true or false; \"*\": anything. A",
            "pointer to a list holds where one of its elements does.",
        ],
    )
    .example("{ \"/groups\" = \"nasdaq-l2\" }")
    .reloaded()],
};

pub(super) fn granted_of<'a>(section: &mut Section<'_, 'a>, name: &'static str, table: Table<'a>) -> Granted {
    let mut section = section.open(name, table);
    let granted = granted(&mut section);
    section.finish();
    granted
}

fn granted(section: &mut Section) -> Granted {
    let keys: GrantedKeys = section.keys();
    Granted {
        subscribe: grants(section, "subscribe", &keys.subscribe),
        publish: grants(section, "publish", &keys.publish),
        auto: grants(section, "auto", &keys.auto),
        interval_ms_min: keys.interval_ms_min,
    }
}

fn grants(section: &mut Section, key: &'static str, texts: &[String]) -> Vec<Grant> {
    let parsed: Result<Vec<Grant>, String> = texts.iter().map(|text| Grant::parse(text)).collect();
    section.convert(key, Some(parsed), |parsed| parsed).unwrap_or_default()
}

pub(super) fn roles(section: &mut Section) -> Vec<Role> {
    let tables = section.sections("role", "access.role");
    if tables.len() > ROLES_MAX {
        let text = format!("there are {} [[access.role]]; the most is {ROLES_MAX}", tables.len());
        section.problem(section.line(), text);
        return Vec::new();
    }
    let mut roles = Vec::new();
    for table in tables {
        let mut section = section.open("access.role", table);
        let when = section.read("when", Vec::new(), when);
        if when.line.is_none() {
            let text =
                "when is missing: write { \"/groups\" = \"name\" }, or [access.everyone] for all tokens";
            section.problem(section.line(), text);
        }
        let granted = granted(&mut section);
        section.finish();
        roles.push(Role { when: when.value, granted });
    }
    roles
}

/// The tables that there are. That of anonymous connections lets them in also where it grants nothing.
pub(super) fn render(text: &mut Text, rules: &Rules) {
    let everyone = Some(&rules.everyone).filter(|everyone| **everyone != Granted::default());
    for (name, granted) in [("[access.anonymous]", rules.anonymous.as_ref()), ("[access.everyone]", everyone)]
    {
        if let Some(granted) = granted {
            text.section(name);
            text.keys(&GrantedKeys::from(granted));
        }
    }
    for Role { when, granted } in &rules.roles {
        text.section("[[access.role]]");
        text.plain("when", when::write(when));
        text.keys(&GrantedKeys::from(granted));
    }
}

impl From<&Granted> for GrantedKeys {
    fn from(granted: &Granted) -> Self {
        let texts = |grants: &[Grant]| grants.iter().map(|grant| grant.as_str().to_owned()).collect();
        Self {
            subscribe: texts(&granted.subscribe),
            publish: texts(&granted.publish),
            auto: texts(&granted.auto),
            interval_ms_min: granted.interval_ms_min,
        }
    }
}
