//! Sans-IO RFC 6455.
