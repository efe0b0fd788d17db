//! `GET /config`: the configuration that holds, as `--check` prints it.

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};

use super::admin::App;

pub(super) async fn show(State(admin): App) -> Response {
    ([(header::CONTENT_TYPE, "application/toml")], admin.rules().config.clone()).into_response()
}
