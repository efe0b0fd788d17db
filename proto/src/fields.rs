//! Header fields of a head that httparse has accepted.

/// The lines after the first one, up to and with the empty one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub fn new(lines: &'a [u8]) -> Fields<'a> {
        Fields(lines)
    }

    /// Values of all fields of that name (case-insensitive), in order, without white space around
    /// them. One that is not UTF-8 is passed over: nothing that is looked for here may hold such bytes.
    pub fn values(self, name: &str) -> impl Iterator<Item = &'a str> + use<'a, '_> {
        self.0.split(|&byte| byte == b'\n').filter_map(move |line| {
            let colon = line.iter().position(|&byte| byte == b':')?;
            let (found, value) = (&line[..colon], &line[colon + 1..]);
            if !found.eq_ignore_ascii_case(name.as_bytes()) || is_unreadable(line) {
                return None;
            }
            Some(std::str::from_utf8(value).ok()?.trim_ascii())
        })
    }

    /// Names of all fields, in order, as they were sent.
    pub fn names(self) -> impl Iterator<Item = &'a str> {
        self.0.split(|&byte| byte == b'\n').filter_map(|line| {
            let colon = line.iter().position(|&byte| byte == b':')?;
            std::str::from_utf8(&line[..colon]).ok()
        })
    }

    /// The elements of comma-separated lists (RFC 9110, 5.6.1) in all fields of that name.
    pub fn list(self, name: &str) -> impl Iterator<Item = &'a str> + use<'a, '_> {
        self.values(name)
            .flat_map(|value| value.split(','))
            .map(str::trim_ascii)
            .filter(|item| !item.is_empty())
    }

    /// Whether a list holds the token, in any case.
    pub fn has_token(self, name: &str, token: &str) -> bool {
        self.list(name).any(|item| item.eq_ignore_ascii_case(token))
    }

    /// The value of a field that stands there exactly once.
    pub fn only(self, name: &str) -> Option<&'a str> {
        let mut values = self.values(name);
        values.next().filter(|_| values.next().is_none())
    }

    /// The name of the first field among those `looked_at` that may be read in more than one way: it is
    /// folded, or its value holds other bytes than visible ASCII. Or of one that is no field, since white
    /// space stands before its colon or it is unreadable, where no well-written one has its name.
    pub fn dubious(self, looked_at: fn(&str) -> bool) -> Option<String> {
        let (mut last, mut malformed) = (None, Vec::new());
        for line in self.0.split(|&byte| byte == b'\n') {
            let is_fold = matches!(line.first(), Some(b' ' | b'\t'));
            match last.take() {
                Some(name) if is_fold => return Some(name),
                // It belongs to a field that does not matter.
                None if is_fold => continue,
                _ => {}
            }
            let colon = line.iter().position(|&byte| byte == b':').unwrap_or(line.len());
            let (name, value) = (String::from_utf8_lossy(&line[..colon]), &line[colon..]);
            let plain = name.trim();
            if !looked_at(plain) {
                continue;
            }
            let is_visible = |byte: &u8| matches!(byte, b' '..=b'~' | b'\t');
            if name != plain || is_unreadable(line) {
                malformed.push(plain.to_owned());
            } else if value.trim_ascii_end().iter().all(is_visible) {
                last = Some(plain.to_owned());
            } else {
                return Some(plain.to_owned());
            }
        }
        malformed.into_iter().find(|name| self.values(name).next().is_none())
    }
}

/// Whether a line holds a NUL, or a CR that does not end it (RFC 9110, 5.5): none such is a field.
pub(crate) fn is_unreadable(line: &[u8]) -> bool {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    line.iter().any(|byte| matches!(byte, 0 | b'\r'))
}
