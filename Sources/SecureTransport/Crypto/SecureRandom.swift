internal import CMbedTLS

/// Random bytes for keys: mbedTLS's generator (CTR_DRBG, NIST SP 800-90A, 10.2.1), seeded from a source of noise whose health is watched all the
/// time (SP 800-90B, 4.4).
///
/// Hosts have ``system``. Firmware must supply a source: there is none that would be good on every board, and so no default.
@safe
public final class SecureRandom: @unchecked Sendable {
    // @unchecked: mbedTLS locks the generator where there are threads (MBEDTLS_THREADING_C), and asks for noise within that lock.

    /// Returns `count` bytes of noise, as a hardware generator of random numbers delivers it; fewer if it has failed. At least one bit in eight must be
    /// unpredictable: from 512 bytes of noise are made 32 of a seed.
    public typealias Noise = @Sendable (_ count: Int) -> [UInt8]

    let context: UnsafeMutablePointer<mbedtls_ctr_drbg_context> = .allocate(capacity: 1)
    private let noise: Noise
    private var health = NoiseHealth()

    #if !hasFeature(Embedded)
    /// The generator that everything uses which is not given another: its noise is the system's (getrandom(2)).
    public static let system: SecureRandom = {
        do throws(RandomError) { return try SecureRandom { systemNoise($0) } } catch {
            preconditionFailure("the system has no random numbers: \(error)")
        }
    }()

    private static func systemNoise(_ count: Int) -> [UInt8] {
        var generator = SystemRandomNumberGenerator()
        return (0..<count).map { _ in UInt8.random(in: 0...255, using: &generator) }
    }
    #endif

    /// A generator that is seeded, and from time to time seeded again, from `noise`, whose first 1,024 bytes or more are tested before any is used.
    /// What is `personal` to the device makes its numbers differ from those of another with the same noise; it need not be secret.
    public init(personal: [UInt8] = [], noise: @escaping Noise) throws(RandomError) {
        self.noise = noise
        unsafe mbedtls_ctr_drbg_init(context)
        let me = unsafe Unmanaged.passUnretained(self).toOpaque()
        let result = unsafe mbedtls_ctr_drbg_seed(context, seedFromNoise, me, personal, personal.count)
        guard result == 0 else { throw error(result) }
    }

    deinit {
        unsafe mbedtls_ctr_drbg_free(context)
        unsafe context.deallocate()
    }

    /// `count` random bytes, up to 1,024.
    public func bytes(_ count: Int) throws(RandomError) -> [UInt8] {
        guard count <= MBEDTLS_CTR_DRBG_MAX_REQUEST else { throw .tooMany(count) }
        var bytes = [UInt8](repeating: 0, count: count)
        let result = unsafe mbedtls_ctr_drbg_random(context, &bytes, count)
        guard result == 0 else { throw error(result) }
        return bytes
    }

    private func error(_ result: Int32) -> RandomError {
        guard result == MBEDTLS_ERR_CTR_DRBG_ENTROPY_SOURCE_FAILED else { return .generator(code: result) }
        return health.hasFailed ? .unhealthyNoise : .noNoise
    }

    /// Fills `seed` from noise: 0, or -1 if there is none that is good.
    fileprivate func fill(_ seed: UnsafeMutableBufferPointer<UInt8>) -> Int32 {
        var position = 0
        while position < seed.count {
            var noise = noise(NoiseHealth.windowBytes)
            defer { noise.wipe() }
            guard noise.count == NoiseHealth.windowBytes, health.accept(noise) else { return -1 }
            var digest = Digest.sha256(noise.span)
            for index in digest.indices where position < seed.count {
                unsafe seed[position] = digest[index]
                position += 1
            }
            digest.wipe()
        }
        return 0
    }
}

/// Why there are no random bytes.
@nonexhaustive
public enum RandomError: Error, Equatable, Sendable {
    /// The source of noise has failed.
    case noNoise
    /// The source of noise delivers the same over and over: it is broken, and is not used any more.
    case unhealthyNoise
    /// More bytes were asked for than the generator makes at once.
    case tooMany(Int)
    /// mbedTLS's generator has failed, with this error number.
    case generator(code: Int32)
}

/// The tests that a source of noise must pass all the time, each of which a good one fails once in 2^20 times at most (NIST SP 800-90B, 4.4), given one
/// unpredictable bit in a byte.
struct NoiseHealth {
    /// How many bytes the adaptive proportion test looks at.
    static let windowBytes = 512
    /// So often one byte may not come in a row (4.4.1: 1 + 20 bits / 1 bit).
    static let repetitions = 21
    /// So often the first byte of a window may not be in it (4.4.2: 1 + the critical value of a binomial distribution of 512 and one half).
    static let occurrences = 311

    private(set) var hasFailed = false
    private var last: UInt8 = 0
    private var run = 0

    /// Whether these bytes, and all before, have passed.
    mutating func accept(_ window: [UInt8]) -> Bool {
        var same = 0
        for byte in window {
            run = run > 0 && byte == last ? run + 1 : 1
            last = byte
            if byte == window[0] { same += 1 }
            if run >= Self.repetitions || same >= Self.occurrences { hasFailed = true }
        }
        return !hasFailed
    }
}

/// What the generator calls for a seed.
private func seedFromNoise(_ context: UnsafeMutableRawPointer?, _ bytes: UnsafeMutablePointer<UInt8>?, _ count: Int)
    -> Int32
{
    guard let context = unsafe context else { return -1 }
    let random = unsafe Unmanaged<SecureRandom>.fromOpaque(context).takeUnretainedValue()
    return unsafe random.fill(UnsafeMutableBufferPointer(start: bytes, count: count))
}
