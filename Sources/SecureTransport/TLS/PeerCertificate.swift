#if os(Linux) || CERTIFICATES
internal import CMbedTLS

#if hasFeature(Embedded)
/// What is looked at of a certificate that the peer has shown.
enum PeerCertificate {}

/// Certificates that were not accepted.
public struct CertificateRejection: Error, Equatable, Sendable {
    /// One certificate, and what is wrong with it.
    public struct Finding: Equatable, Sendable {
        /// Its place in the chain: 0 is the peer's own.
        public let depth: Int
        /// What is wrong with it.
        public let problems: CertificateProblems
    }

    /// All that is wrong with the chain.
    public let problems: CertificateProblems
    /// The certificates that something is wrong with, from the issuers to the peer's own.
    public let findings: [Finding]
}
#else
/// A certificate that the peer has shown.
public struct PeerCertificate: Equatable, Sendable {
    /// The certificate in DER.
    public let der: [UInt8]
    /// Its subject and its issuer: `CN=hub.example, O=Example`.
    public let subject: String
    /// Who has signed it.
    public let issuer: String
    /// The names that it is for: the DNS names among the subject's alternative names, or the common name if it has none.
    public let names: [String]
    /// When its validity begins and ends, in seconds since 1970.
    public let notBefore: Int64
    /// When its validity ends, in seconds since 1970.
    public let notAfter: Int64
    /// Its place in the chain: 0 is the peer's own.
    public let depth: Int
    /// The SHA-256 hash of its SubjectPublicKeyInfo: what ``TLSVerification/pinnedKeys`` takes.
    public let keyHash: [UInt8]

    @safe init(_ certificate: UnsafePointer<mbedtls_x509_crt>, depth: Int) {
        self.depth = depth
        der = unsafe Array(UnsafeBufferPointer(start: certificate.pointee.raw.p, count: certificate.pointee.raw.len))
        subject = unsafe Self.text { unsafe cmbedtls_distinguished_name(certificate, 0, $0, $1) }
        issuer = unsafe Self.text { unsafe cmbedtls_distinguished_name(certificate, 1, $0, $1) }
        var names: [String] = []
        while names.count < 16 {
            let name = unsafe Self.text { unsafe Int32(cmbedtls_name(certificate, Int32(names.count), $0, $1)) }
            guard !name.isEmpty else { break }
            names.append(name)
        }
        self.names = names
        notBefore = unsafe Self.seconds(certificate.pointee.valid_from)
        notAfter = unsafe Self.seconds(certificate.pointee.valid_to)
        keyHash = unsafe Self.keyHash(certificate)
    }

    private static func text(_ fill: (UnsafeMutablePointer<CChar>, Int) -> Int32) -> String {
        unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 512) { buffer in
            guard let start = buffer.baseAddress else { return "" }
            let count = unsafe max(0, min(Int(fill(start, buffer.count)), buffer.count))
            return unsafe String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
        }
    }
}

/// Certificates that were not accepted.
public struct CertificateRejection: Error, Equatable, Sendable, CustomStringConvertible {
    /// One certificate, and what is wrong with it.
    public struct Finding: Equatable, Sendable {
        /// The certificate.
        public let certificate: PeerCertificate
        /// What is wrong with it.
        public let problems: CertificateProblems
    }

    /// All that is wrong with the chain.
    public let problems: CertificateProblems
    /// The certificates that something is wrong with, from the issuers to the peer's own.
    public let findings: [Finding]
    /// The names that the peer's certificate is for.
    public let names: [String]
    /// The name that was wanted; empty for a client's certificate.
    public let wanted: String

    /// What is wrong with which certificate, in a clause.
    public var description: String {
        if problems.contains(.wrongName) {
            return "the certificate is for \(names.joined(separator: ", ")), not for \(wanted)"
        }
        guard let finding = findings.last else { return "the certificate is \(problems)" }
        var text = "the certificate of \(finding.certificate.subject) is \(finding.problems)"
        if finding.problems.contains(.expired) { text += " (since \(Self.date(finding.certificate.notAfter)))" }
        if finding.problems.contains(.notYetValid) { text += " (until \(Self.date(finding.certificate.notBefore)))" }
        if finding.problems.contains(.unknownIssuer) { text += " (issuer: \(finding.certificate.issuer))" }
        return text
    }

    /// The day, as ISO 8601 has it.
    static func date(_ seconds: Int64) -> String {
        var days = seconds / 86_400 - (seconds % 86_400 < 0 ? 1 : 0) + 719_468
        let era = (days >= 0 ? days : days - 146_096) / 146_097
        days -= era * 146_097
        let yearOfEra = (days - days / 1_460 + days / 36_524 - days / 146_096) / 365
        let dayOfYear = days - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shifted = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * shifted + 2) / 5 + 1
        let month = shifted + (shifted < 10 ? 3 : -9)
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        func two(_ number: Int64) -> String { number < 10 ? "0\(number)" : "\(number)" }
        return "\(year)-\(two(month))-\(two(day))"
    }
}
#endif

extension PeerCertificate {
    static func keyHash(_ certificate: UnsafePointer<mbedtls_x509_crt>) -> [UInt8] {
        let key = unsafe UnsafeBufferPointer(start: certificate.pointee.pk_raw.p, count: certificate.pointee.pk_raw.len)
        return unsafe Digest.sha256(Span(_unsafeElements: key))
    }

    /// Days from civil (proleptic Gregorian), then seconds.
    static func seconds(_ time: mbedtls_x509_time) -> Int64 {
        let month = Int64(time.mon)
        let year = Int64(time.year) - (month <= 2 ? 1 : 0)
        let era = (year >= 0 ? year : year - 399) / 400
        let yearOfEra = year - era * 400
        let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + Int64(time.day) - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        let days = era * 146_097 + dayOfEra - 719_468
        return days * 86_400 + Int64(time.hour) * 3_600 + Int64(time.min) * 60 + Int64(time.sec)
    }
}
#endif
