internal import CLinux
internal import CSQLite

/// What the services remember, as JSON documents in `state.sqlite` of the hub's directory: all that a message changes is one transaction. Used on the services'
/// thread only.
final class HubStore {
    /// Whose documents they are. Keys are `product/device`, or a product's ID.
    enum Kind: String {
        case shadow, configuration, logLevel, product, device, firmware, upgrade, binding, thing, resource
    }

    private let path: String
    /// `nil` once it is closed.
    private var database: OpaquePointer?
    private var statements: [String: OpaquePointer] = [:]

    /// Opens the file, which is made if it is not there.
    init(path: String) throws(HubSimulatorError) {
        self.path = path
        // Made here, so that only its owner can read it; SQLite gives its other files the same rights.
        let file = clinux_open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw .file(path, code: clinux_errno()) }
        CLinux.close(file)
        var database: OpaquePointer?
        let flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX
        let result = sqlite3_open_v2(path, &database, flags, nil)
        guard result == SQLITE_OK, let database else {
            sqlite3_close_v2(database)
            throw .stateFailed(path, code: result)
        }
        self.database = database
        try run("PRAGMA locking_mode = EXCLUSIVE")
        try run("PRAGMA journal_mode = WAL")
        // What a killed process has written is there again; the machine's power is not what a simulator guards against.
        try run("PRAGMA synchronous = NORMAL")
        try run(
            """
            CREATE TABLE IF NOT EXISTS documents
            (kind TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (kind, key)) WITHOUT ROWID
            """
        )
        try run("CREATE TABLE IF NOT EXISTS lines (number INTEGER PRIMARY KEY, key TEXT NOT NULL, line TEXT NOT NULL)")
    }

    deinit { close() }

    /// Lets go of the file; what is asked for later throws `notRunning`.
    func close() {
        for statement in statements.values { sqlite3_finalize(statement) }
        statements = [:]
        sqlite3_close_v2(database)
        database = nil
    }

    /// Does all of `body` or nothing.
    func transaction<Result>(
        _ body: () throws(HubSimulatorError) -> Result
    ) throws(HubSimulatorError) -> Result {
        try run("BEGIN IMMEDIATE")
        do throws(HubSimulatorError) {
            let result = try body()
            try run("COMMIT")
            return result
        } catch {
            sqlite3_exec(database, "ROLLBACK", nil, nil, nil)
            throw error
        }
    }

    func document(_ kind: Kind, _ key: String) throws(HubSimulatorError) -> HubJSON? {
        let query = "SELECT value FROM documents WHERE kind = ? AND key = ?"
        return try rows(query, [kind.rawValue, key]).first.flatMap { HubJSON(parsing: $0[0]) }
    }

    /// All documents of a kind whose keys begin with `prefix`, in the order of their keys.
    func documents(_ kind: Kind, prefix: String = "") throws(HubSimulatorError) -> [(key: String, value: HubJSON)] {
        let query = "SELECT key, value FROM documents WHERE kind = ? AND substr(key, 1, length(?)) = ? ORDER BY key"
        return try rows(query, [kind.rawValue, prefix, prefix]).compactMap { row in
            HubJSON(parsing: row[1]).map { (String(decoding: row[0], as: UTF8.self), $0) }
        }
    }

    func put(_ kind: Kind, _ key: String, _ value: HubJSON) throws(HubSimulatorError) {
        let text = String(decoding: value.text, as: UTF8.self)
        _ = try rows("INSERT OR REPLACE INTO documents VALUES (?, ?, ?)", [kind.rawValue, key, text])
    }

    func remove(_ kind: Kind, _ key: String) throws(HubSimulatorError) {
        _ = try rows("DELETE FROM documents WHERE kind = ? AND key = ?", [kind.rawValue, key])
    }

    /// Appends log lines of a device; of each device, the last `limit` stay.
    func append(_ lines: [String], key: String, limit: Int) throws(HubSimulatorError) {
        for line in lines { _ = try rows("INSERT INTO lines (key, line) VALUES (?, ?)", [key, line]) }
        _ = try rows(
            """
            DELETE FROM lines WHERE key = ? AND number <=
            (SELECT number FROM lines WHERE key = ? ORDER BY number DESC LIMIT 1 OFFSET \(limit))
            """,
            [key, key]
        )
    }

    /// The log lines of a device, oldest first.
    func lines(key: String) throws(HubSimulatorError) -> [String] {
        try rows("SELECT line FROM lines WHERE key = ? ORDER BY number", [key]).map {
            String(decoding: $0[0], as: UTF8.self)
        }
    }

    private func run(_ text: String) throws(HubSimulatorError) {
        guard database != nil else { throw .notRunning }
        let result = sqlite3_exec(database, text, nil, nil, nil)
        guard result == SQLITE_OK else { throw .stateFailed(path, code: result) }
    }

    /// Runs a statement to its end; its texts are kept prepared.
    private func rows(_ text: String, _ values: [String]) throws(HubSimulatorError) -> [[[UInt8]]] {
        let statement = try prepared(text)
        defer {
            sqlite3_reset(statement)
            sqlite3_clear_bindings(statement)
        }
        for (index, value) in values.enumerated() {
            // As text, so that comparisons with texts hold.
            let result = csqlite_bind_text(statement, Int32(index + 1), value)
            guard result == SQLITE_OK else { throw .stateFailed(path, code: result) }
        }
        var rows: [[[UInt8]]] = []
        while true {
            switch sqlite3_step(statement) {
            case SQLITE_ROW: rows.append((0..<sqlite3_column_count(statement)).map { Self.bytes(statement, $0) })
            case SQLITE_DONE: return rows
            case let code: throw .stateFailed(path, code: code)
            }
        }
    }

    private func prepared(_ text: String) throws(HubSimulatorError) -> OpaquePointer {
        guard database != nil else { throw .notRunning }
        if let statement = statements[text] { return statement }
        var statement: OpaquePointer?
        let result = sqlite3_prepare_v2(database, text, -1, &statement, nil)
        guard result == SQLITE_OK, let statement else { throw .stateFailed(path, code: result) }
        statements[text] = statement
        return statement
    }

    private static func bytes(_ statement: OpaquePointer, _ column: Int32) -> [UInt8] {
        guard let bytes = sqlite3_column_blob(statement, column) else { return [] }
        return Array(UnsafeRawBufferPointer(start: bytes, count: Int(sqlite3_column_bytes(statement, column))))
    }
}
