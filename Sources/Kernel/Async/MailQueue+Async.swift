#if !hasFeature(Embedded)
extension MailQueue {
    /// Awaits a place for a copy of `mail`; throws as the form that blocks.
    public nonisolated(nonsending) func send(_ mail: [UInt8], _ wait: Wait = .forever) async throws(KernelError) {
        try await sendMail(mail, priority: 0, wait)
    }

    /// Awaits the oldest mail.
    public nonisolated(nonsending) func receive(_ wait: Wait = .forever) async throws(KernelError) -> [UInt8] {
        try await receiveMail(wait)
    }
}

extension PriorityMailQueue {
    /// Awaits a place for a copy of `mail`; throws as the form that blocks.
    public nonisolated(nonsending) func send(
        _ mail: [UInt8],
        priority: Priority,
        _ wait: Wait = .forever
    ) async throws(KernelError) {
        try await sendMail(mail, priority: priority.rawValue, wait)
    }

    /// Awaits the most urgent mail.
    public nonisolated(nonsending) func receive(_ wait: Wait = .forever) async throws(KernelError) -> [UInt8] {
        try await receiveMail(wait)
    }
}

extension BlockingQueue {
    fileprivate nonisolated(nonsending) final func sendMail(
        _ mail: [UInt8],
        priority: UInt8,
        _ wait: Wait
    ) async throws(KernelError) {
        guard mail.count <= itemBytes else { throw .wrongSize }
        let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: mail.count, alignment: 1)
        defer { unsafe bytes.deallocate() }
        unsafe bytes.copyBytes(from: mail)
        try await send(awaiting: unsafe Parcel(mail: UnsafeRawBufferPointer(bytes), priority: priority), wait)
    }

    fileprivate nonisolated(nonsending) final func receiveMail(_ wait: Wait) async throws(KernelError) -> [UInt8] {
        let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: itemBytes, alignment: 1)
        defer { unsafe bytes.deallocate() }
        let count = try await receive(awaiting: unsafe Parcel(mail: UnsafeRawBufferPointer(bytes), priority: 0), wait)
        return unsafe [UInt8](bytes.prefix(count))
    }
}
#endif
