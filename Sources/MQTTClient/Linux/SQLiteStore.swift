#if os(Linux)
internal import CSQLite
internal import Kernel

/// An ``MQTTStore`` in a file of SQLite: what is published with an acknowledgement outlives the process, and the machine's power.
///
/// All that a turn of the loop changes is one transaction, which is on the disk before the first byte that follows from it is sent. One client of one process has
/// the file at a time. The server must keep its side of the session: set `cleanStart` to `false`, and with 5.0 a session expiry.
///
/// What arrives with QoS 2 is noted before it is given to the reader, for which ``Durability/power`` waits for the disk: once for what is given together.
@safe
public final class SQLiteStore: MQTTStore, @unchecked Sendable {
    // @unchecked: it is used on its client's loop only, once it was made.
    private let database: OpaquePointer
    private var put: Statement?
    private var update: Statement?
    private var remove: Statement?
    private var addReceived: Statement?
    private var removeReceived: Statement?
    private var isChanging = false
    private var failure: Int32?

    /// How much is lost if the machine loses its power.
    public enum Durability: Sendable {
        /// Nothing that was acknowledged: each transaction waits for the disk.
        case power
        /// At most the last moments; nothing if only the process ends. The disk is not waited for.
        case process
    }

    /// A prepared statement.
    @safe
    private final class Statement {
        let pointer: OpaquePointer

        init?(_ database: OpaquePointer, _ text: String) {
            var statement: OpaquePointer?
            guard unsafe sqlite3_prepare_v2(database, text, -1, &statement, nil) == SQLITE_OK,
                let prepared = unsafe statement
            else { return nil }
            unsafe pointer = unsafe prepared
        }

        deinit { unsafe sqlite3_finalize(pointer) }

        func bind(_ index: Int32, _ bytes: Span<UInt8>) {
            _ = unsafe bytes.withUnsafeBufferPointer {
                unsafe csqlite_bind_blob(pointer, index, $0.baseAddress, Int32($0.count))
            }
        }

        func bind(_ index: Int32, _ number: Int64) { unsafe sqlite3_bind_int64(pointer, index, number) }

        func step() -> Int32 {
            let result = unsafe sqlite3_step(pointer)
            unsafe sqlite3_reset(pointer)
            return result
        }
    }

    /// Opens the file at `path`, which is made if it is not there. Throws ``MQTTError/store(code:)`` with SQLite's number of the error: 5 if another client has it,
    /// 14 if it cannot be opened, 26 if it is something else.
    public init(path: String, durability: Durability = .power) throws(MQTTError) {
        var database: OpaquePointer?
        let flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX
        let result = unsafe sqlite3_open_v2(path, &database, flags, nil)
        guard result == SQLITE_OK, let opened = unsafe database else {
            unsafe sqlite3_close_v2(database)
            throw .store(code: result)
        }
        unsafe self.database = unsafe opened
        // The exclusive lock is taken with the first write, and kept.
        try run("PRAGMA locking_mode = EXCLUSIVE")
        try run("PRAGMA journal_mode = WAL")
        try run("PRAGMA synchronous = \(durability == .power ? "FULL" : "NORMAL")")
        try run("BEGIN IMMEDIATE")
        try run(
            "CREATE TABLE IF NOT EXISTS messages (number INTEGER PRIMARY KEY, header BLOB NOT NULL, packet BLOB NOT NULL)"
        )
        try run("CREATE TABLE IF NOT EXISTS received (packet_id INTEGER PRIMARY KEY)")
        try run("COMMIT")
        put = try statement("INSERT OR REPLACE INTO messages VALUES (?, ?, ?)")
        update = try statement("UPDATE messages SET header = ? WHERE number = ?")
        remove = try statement("DELETE FROM messages WHERE number = ?")
        addReceived = try statement("INSERT OR REPLACE INTO received VALUES (?)")
        removeReceived = try statement("DELETE FROM received WHERE packet_id = ?")
    }

    deinit {
        if isChanging { unsafe sqlite3_exec(database, "COMMIT", nil, nil, nil) }
        (put, update, remove, addReceived, removeReceived) = (nil, nil, nil, nil, nil)
        unsafe sqlite3_close_v2(database)
    }

    private func run(_ text: String) throws(MQTTError) {
        let result = unsafe sqlite3_exec(database, text, nil, nil, nil)
        guard result == SQLITE_OK else { throw .store(code: result) }
    }

    private func statement(_ text: String) throws(MQTTError) -> Statement {
        guard let statement = unsafe Statement(database, text) else {
            throw unsafe .store(code: sqlite3_errcode(database))
        }
        return statement
    }

    // MARK: MQTTStore

    /// All messages that are kept, in the order of their numbers.
    public func load() throws(MQTTError) -> [MQTTStoredMessage] {
        let query = try statement("SELECT number, header, packet FROM messages ORDER BY number")
        var messages: [MQTTStoredMessage] = []
        while true {
            switch unsafe sqlite3_step(query.pointer) {
            case SQLITE_ROW:
                unsafe messages.append(
                    MQTTStoredMessage(
                        number: UInt32(truncatingIfNeeded: sqlite3_column_int64(query.pointer, 0)),
                        header: Self.bytes(query.pointer, 1),
                        packet: Self.bytes(query.pointer, 2)
                    )
                )
            case SQLITE_DONE: return messages
            case let code: throw .store(code: code)
            }
        }
    }

    private static func bytes(_ statement: OpaquePointer, _ column: Int32) -> [UInt8] {
        let count = unsafe Int(sqlite3_column_bytes(statement, column))
        guard count > 0, let bytes = unsafe sqlite3_column_blob(statement, column) else { return [] }
        return unsafe [UInt8](UnsafeRawBufferPointer(start: bytes, count: count))
    }

    /// The packet identifiers of messages with QoS 2 that were received and are not released.
    public func loadReceived() throws(MQTTError) -> [UInt16] {
        let query = try statement("SELECT packet_id FROM received")
        var identifiers: [UInt16] = []
        while true {
            switch unsafe sqlite3_step(query.pointer) {
            case SQLITE_ROW:
                unsafe identifiers.append(UInt16(truncatingIfNeeded: sqlite3_column_int64(query.pointer, 0)))
            case SQLITE_DONE: return identifiers
            case let code: throw .store(code: code)
            }
        }
    }

    /// Keeps a message: its state, and its packet.
    public func put(_ number: UInt32, header: Span<UInt8>, packet: Span<UInt8>) {
        put?.bind(1, Int64(number))
        put?.bind(2, header)
        put?.bind(3, packet)
        change(put)
    }

    /// Keeps another state of a message.
    public func update(_ number: UInt32, header: Span<UInt8>) {
        update?.bind(1, header)
        update?.bind(2, Int64(number))
        change(update)
    }

    /// Takes a message out.
    public func remove(_ number: UInt32) {
        remove?.bind(1, Int64(number))
        change(remove)
    }

    /// Keeps the packet identifier of a message with QoS 2.
    public func addReceived(_ packetID: UInt16) {
        addReceived?.bind(1, Int64(packetID))
        change(addReceived)
    }

    /// Takes a packet identifier out.
    public func removeReceived(_ packetID: UInt16) {
        removeReceived?.bind(1, Int64(packetID))
        change(removeReceived)
    }

    /// Takes all packet identifiers out.
    public func removeAllReceived() {
        begin()
        unsafe note(sqlite3_exec(database, "DELETE FROM received", nil, nil, nil))
    }

    private func change(_ statement: Statement?) {
        begin()
        if let statement { note(statement.step()) }
    }

    private func begin() {
        guard !isChanging else { return }
        isChanging = true
        unsafe note(sqlite3_exec(database, "BEGIN", nil, nil, nil))
    }

    private func note(_ result: Int32) {
        if failure == nil, result != SQLITE_OK, result != SQLITE_DONE { failure = result }
    }

    /// Makes all since the last time last.
    public func commit() throws(MQTTError) {
        guard isChanging else { return }
        isChanging = false
        unsafe note(sqlite3_exec(database, "COMMIT", nil, nil, nil))
        guard let failure else { return }
        self.failure = nil
        unsafe sqlite3_exec(database, "ROLLBACK", nil, nil, nil)
        throw .store(code: failure)
    }
}
#endif
