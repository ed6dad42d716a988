//! What engines answer, as our errors.

use agentkernel_backend::BackendError;
use bollard::errors::Error;

/// The longest text of an engine's that is shown.
const MAX_TEXT: usize = 2000;

/// The status of an answer that refuses.
pub(crate) fn status(error: &Error) -> Option<u16> {
    match error {
        Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

/// The engine's own words, without what could fool a terminal.
pub(crate) fn words(error: &Error) -> String {
    let text = match error {
        Error::DockerResponseServerError { message, .. } => message.clone(),
        Error::DockerStreamError { error } => error.clone(),
        other => chain(other),
    };
    clean(&text)
}

/// An error with all its causes: hyper hides the one that matters.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        next = cause.source();
    }
    text
}

/// `text` from outside, fit for one line of a message.
pub(crate) fn clean(text: &str) -> String {
    let plain = |letter: char| if letter.is_control() { ' ' } else { letter };
    let line: String = text.trim().chars().map(plain).take(MAX_TEXT).collect();
    line.trim().to_owned()
}

/// For `map_err`: a step that the engine could not do.
pub(crate) fn failed(action: impl Into<String>) -> impl FnOnce(Error) -> BackendError {
    let action = action.into();
    move |error| BackendError::runtime(action, words(&error))
}

/// The answer, or `None` where the engine says that there is no such thing.
pub(crate) fn unless_missing<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if status(&error) == Some(404) => Ok(None),
        // Podman, of one that goes at this moment.
        Err(error) if status(&error) == Some(500) && words(&error).contains("no such container") => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status_code: u16, message: &str) -> Error {
        Error::DockerResponseServerError { status_code, message: message.to_owned() }
    }

    #[test]
    fn engines_words_are_one_plain_line() {
        let error = failed("start x")(answer(500, "no\x1b[31m\nspace\n"));
        assert_eq!(error.to_string(), "could not start x: no [31m space");
        assert_eq!(words(&answer(500, &"x".repeat(1 << 20))).len(), MAX_TEXT);
    }

    #[test]
    fn missing_is_no_error() {
        assert_eq!(unless_missing::<()>(Err(answer(404, "no such container"))).unwrap(), None);
        assert!(unless_missing::<()>(Err(answer(409, "conflict"))).is_err());
        assert_eq!(unless_missing(Ok(1)).unwrap(), Some(1));
    }
}
