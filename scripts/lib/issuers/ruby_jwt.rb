# Tokens and a set of public keys, as ruby-jwt makes them: {"keys": {ALG: FILE}, "claims": [CLAIMS, …]} on stdin.
require "json"
require "jwt"
require "rbnacl"

# EdDSA takes a key of RbNaCl, which has no PEM: its 32 bytes stand at the end of PKCS #8 (RFC 8410, section 7).
def private_key(algorithm, file)
  return file if algorithm.start_with?("HS")
  key = OpenSSL::PKey.read(file)
  algorithm == "EdDSA" ? RbNaCl::Signatures::Ed25519::SigningKey.new(key.private_to_der[-32..]) : key
end

work = JSON.parse($stdin.read)
tokens, published = {}, []
work["keys"].each do |algorithm, path|
  key = private_key(algorithm, File.binread(path))
  tokens[algorithm] = work["claims"].map { |claims| JWT.encode(claims, key, algorithm, { kid: algorithm }) }
  # It has no form of a set for keys of EdDSA and secrets.
  published << JWT::JWK.new(key, algorithm).export if key.is_a?(OpenSSL::PKey::PKey)
end
puts JSON.generate({ version: JWT.gem_version.to_s, tokens: tokens, keys: published })
