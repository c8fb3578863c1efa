//! Compiles the wire's protobuf files. Needs `protoc`.

fn main() -> std::io::Result<()> {
    let mut config = prost_build::Config::new();
    config.bytes([".nepto.v1.DeviceCiphertext.ciphertext", ".nepto.v1.Envelope.ciphertext"]);
    // Reply and request bodies of very different size share an enum on purpose.
    config.type_attribute(".", "#[allow(clippy::large_enum_variant)]");
    config.compile_protos(&["proto/nepto.proto", "proto/content.proto", "proto/chain.proto"], &["proto"])
}
