//! Tests of the calculation.
