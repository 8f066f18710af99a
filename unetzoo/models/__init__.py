"""Networks that are not an encoder, a center, a decoder and a head."""
