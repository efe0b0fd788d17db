//! What a run says in the end: its figures, and the forms that they are written in.

pub mod compare;
pub mod expect;
pub mod figures;
pub mod hgrm;
pub mod html;
pub mod outcome;
pub mod plot;
pub mod summary;
pub mod warnings;
