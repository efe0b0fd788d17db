//! A configuration file: read section by section, every problem with its line, and written again.

pub mod environment;
pub mod read;
pub mod value;
pub mod when;
mod words;
pub mod write;
pub mod written;

#[cfg(test)]
mod tests {
    use engine::keys;

    use super::{
        environment::{Environment, Layered},
        read::Reader,
        write::Text,
    };

    keys! {
        /// Of nobody.
        struct Login in "login" {
            /// Who.
            name: String = text_or("me");
            /// How it is proven.
            password: Option<String> = text(), secret;
            /// How it may be proven too.
            tokens: Vec<String> = texts(&[], "write a list of texts"), secret;
        }
    }

    /// Reads `[login]`, refuses its password, and gives the problems.
    fn problems(keys: &str) -> Vec<String> {
        let (text, environment) = (format!("[login]\n{keys}\n"), Environment::default());
        let layered = Layered::new(&text, &environment).expect("no variables");
        let mut reader = match Reader::new(&layered, &environment) {
            Ok(reader) => reader,
            Err(problem) => return vec![problem.text],
        };
        let mut section = reader.section("login");
        let login: Login = section.keys();
        section.convert("password", login.password, |_| Err::<(), _>("write a longer one".to_owned()));
        section.finish();
        reader.problems.into_iter().map(|problem| problem.text).collect()
    }

    #[test]
    fn a_secret_is_printed_nowhere() {
        let tokens = vec!["hush".to_owned()];
        let login = Login { name: "a".to_owned(), password: Some("hush".to_owned()), tokens };
        let mut text = Text::default();
        text.keys(&login);
        assert_eq!(text.written(), "name = \"a\"\n# password = (secret)\n# tokens = (secret)\n");
        assert_eq!(format!("{login:?}"), r#"Login { name: "a", password: (secret), tokens: (secret) }"#);
    }

    #[test]
    fn an_error_about_a_secret_does_not_quote_it() {
        let wrong = ["password = \"hush\"", "password = [\"hush\"]", "tokens = [\"hush\", 1]"];
        let told =
            ["password = (secret): write a", "password = (secret): write text", "tokens = (secret): write a"];
        for (keys, told) in wrong.into_iter().zip(told) {
            let problems = problems(keys);
            assert!(problems.len() == 1 && problems[0].contains(told), "{problems:?}");
            assert!(!problems[0].contains("hush"), "{problems:?}");
        }
        for keys in ["password = hush", "password = \"hush", "tokens = [\"hush\" \"hush\"]"] {
            let problems = problems(keys);
            assert!(problems.len() == 1 && !problems[0].contains("hush"), "{problems:?}");
        }
        assert_eq!(problems("name = 1"), ["[login] name = 1: write text in quotes"]);
    }
}
