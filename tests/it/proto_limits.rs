//! Every limit, hit exactly and by one more.
