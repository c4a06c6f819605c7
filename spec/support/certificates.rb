# frozen_string_literal: true

require "openssl"

# A private CA in a folder, and certificates that it has signed: `ca.pem`, and `<name>.pem` with `<name>.key`.
class CertificateAuthority
  attr_reader :folder

  def initialize(folder, name = "ca")
    @folder = folder
    @key = OpenSSL::PKey::RSA.new(2048)
    @certificate = build("/CN=#{name}", @key, serial: 1)
    factory = OpenSSL::X509::ExtensionFactory.new(@certificate, @certificate)
    @certificate.add_extension(factory.create_extension("basicConstraints", "CA:TRUE", true))
    @certificate.add_extension(factory.create_extension("keyUsage", "keyCertSign, cRLSign", true))
    @certificate.sign(@key, OpenSSL::Digest.new("SHA256"))
    File.write(path("#{name}.pem"), @certificate.to_pem)
  end

  def path(name)
    File.join(folder, name)
  end

  # Signs a certificate for this machine.
  def sign(name)
    key = OpenSSL::PKey::RSA.new(2048)
    certificate = build("/CN=#{name}", key, serial: 2 + name.hash.abs, issuer: @certificate)
    factory = OpenSSL::X509::ExtensionFactory.new(@certificate, certificate)
    certificate.add_extension(factory.create_extension("subjectAltName", "DNS:localhost,IP:127.0.0.1"))
    certificate.add_extension(factory.create_extension("extendedKeyUsage", "serverAuth, clientAuth"))
    certificate.sign(@key, OpenSSL::Digest.new("SHA256"))
    File.write(path("#{name}.pem"), certificate.to_pem)
    File.write(path("#{name}.key"), key.to_pem)
  end

  private

  def build(subject, key, serial:, issuer: nil)
    certificate = OpenSSL::X509::Certificate.new
    certificate.version = 2
    certificate.serial = serial
    certificate.subject = OpenSSL::X509::Name.parse(subject)
    certificate.issuer = issuer ? issuer.subject : certificate.subject
    certificate.public_key = key.public_key
    certificate.not_before = Time.now - 60
    certificate.not_after = Time.now + 3600
    certificate
  end
end
