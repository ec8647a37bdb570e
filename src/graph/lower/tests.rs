//! Small QDQ graphs, made here, against the same arithmetic written plainly; and graphs that must
//! be refused by name.

mod builder;
mod concatenation;
mod convolution;
mod foreign;
mod gate;
mod refusal;
