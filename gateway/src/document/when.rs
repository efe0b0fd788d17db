//! `when`: pointers into a JSON message, and what must stand there.

use engine::json::{pointer::Pointer, wanted::Wanted, whole};
use toml::de::DeValue;

use super::value::{json, table};

/// Pointers of one table.
const LIST_MAX: usize = 64;

/// All must hold.
pub type When = Vec<(Pointer, Wanted)>;

/// Of which each pointer begins at the message. The error says what to write instead.
pub fn when(value: DeValue<'_>) -> Result<When, String> {
    let when = read(value)?;
    match when.iter().find(|(pointer, _)| !pointer.is_plain()) {
        Some((pointer, _)) => {
            let root = &pointer.as_str()[..1];
            Err(format!("{pointer:?}: `when` begins at the message anyway; leave out the {root}"))
        }
        None => Ok(when),
    }
}

/// The same whatever its pointers begin at.
pub fn read(value: DeValue<'_>) -> Result<When, String> {
    const HINT: &str = "write pointers and what stands there, like { \"/type\" = \"ticker\" }";
    let DeValue::Table(table) = value else { return Err(HINT.to_owned()) };
    if table.len() > LIST_MAX {
        return Err(format!("{} pointers; the most is {LIST_MAX}", table.len()));
    }
    let wanted = |(pointer, value): (toml::Spanned<_>, toml::Spanned<_>)| {
        let pointer: std::borrow::Cow<'_, str> = pointer.into_inner();
        let pointer = Pointer::parse(&pointer)?;
        let wanted = match value.into_inner() {
            DeValue::String(text) if text == "*" => Wanted::Present,
            DeValue::String(text) => Wanted::Text(text.into_owned()),
            DeValue::Boolean(flag) => Wanted::Flag(flag),
            value => Wanted::Whole(wanted_number(&value).ok_or_else(|| {
                format!("{pointer:?}: write text, a whole number, true, false, or \"*\" for anything")
            })?),
        };
        Ok((pointer, wanted))
    };
    table.into_iter().map(wanted).collect()
}

/// `None`: it is not whole.
fn wanted_number(value: &DeValue<'_>) -> Option<i128> {
    match value {
        // TOML readers agree on 64 bits only.
        DeValue::Integer(integer) => {
            i64::from_str_radix(integer.as_str(), integer.radix()).ok().map(i128::from)
        }
        DeValue::Float(float) => whole::parse(float.as_str()),
        _ => None,
    }
}

/// As TOML has it.
pub fn write(when: &[(Pointer, Wanted)]) -> String {
    let wanted = |(pointer, wanted): &(Pointer, Wanted)| {
        let value = match wanted {
            Wanted::Present => json("*"),
            Wanted::Text(text) => json(text),
            Wanted::Whole(number) if i64::try_from(*number).is_ok() => number.to_string(),
            Wanted::Whole(number) => format!("{number}.0"),
            Wanted::Flag(flag) => flag.to_string(),
        };
        format!("{} = {value}", json(pointer.as_str()))
    };
    table(when.iter().map(wanted))
}
