internal import CLinux
internal import Kernel

/// The devices that may log in: a JSON file, which the broker's plugin reads too.
///
/// A change of the file, by this type or by hand, is seen by the next call. Changes made here replace the file in one step.
public final class DeviceRegistry: Sendable {
    private struct State {
        var products: [RegisteredProduct] = []
        var devices: [String: RegisteredDevice] = [:]
        var version: FileVersion?
    }

    /// What changes when a file is written.
    private struct FileVersion: Equatable {
        let inode: UInt
        let size: Int
        let seconds: Int
        let nanoseconds: Int
    }

    /// The path of the file.
    public let path: String
    private let directory: String
    private let state = Guarded(State())

    /// Reads `registry.json` of a hub's directory.
    public init(directory: String) throws(HubSimulatorError) {
        self.directory = directory
        path = "\(directory)/registry.json"
        try state.withLock { state throws(HubSimulatorError) in try refresh(&state) }
    }

    /// All devices, in the file's order.
    public var devices: [RegisteredDevice] {
        state.withLock { state in
            try? refresh(&state)
            return state.products.flatMap(\.devices)
        }
    }

    /// The device, or `nil` if the registry has none of this name.
    public func device(productID: String, deviceName: String) -> RegisteredDevice? {
        let device = device(clientID: productID + deviceName)
        return device?.productID == productID ? device : nil
    }

    func device(clientID: String) -> RegisteredDevice? {
        state.withLock { state in
            try? refresh(&state)  // while the file cannot be read, the devices stay as they were
            return state.devices[clientID]
        }
    }

    /// The secret that a product's devices register with, or `nil` without such a product.
    public func productSecret(of productID: String) -> String? {
        state.withLock { state in
            try? refresh(&state)
            return state.products.first { $0.id == productID }?.secret
        }
    }

    /// Lets a device log in, or no more.
    func setEnabled(_ isEnabled: Bool, productID: String, deviceName: String) throws(HubSimulatorError) {
        try change { products throws(HubSimulatorError) in
            for product in products.indices where products[product].id == productID {
                for device in products[product].devices.indices
                where products[product].devices[device].deviceName == deviceName {
                    products[product].devices[device].isEnabled = isEnabled
                    return
                }
            }
            throw .unknownDevice("\(productID)/\(deviceName)")
        }
    }

    /// Adds a device; and its product, if that is new.
    func add(_ device: RegisteredDevice) throws(HubSimulatorError) {
        try device.check()
        try change { products throws(HubSimulatorError) in
            guard let index = products.firstIndex(where: { $0.id == device.productID }) else {
                products.append(RegisteredProduct(id: device.productID, secret: randomHex(24), devices: [device]))
                return
            }
            guard !products[index].devices.contains(where: { $0.deviceName == device.deviceName }) else {
                throw .duplicateDevice(device.description)
            }
            products[index].devices.append(device)
        }
    }

    /// Takes a device out.
    func remove(productID: String, deviceName: String) throws(HubSimulatorError) {
        try change { products throws(HubSimulatorError) in
            for index in products.indices where products[index].id == productID {
                let count = products[index].devices.count
                products[index].devices.removeAll { $0.deviceName == deviceName }
                if products[index].devices.count < count { return }
            }
            throw .unknownDevice("\(productID)/\(deviceName)")
        }
    }

    private func change(
        _ body: (inout [RegisteredProduct]) throws(HubSimulatorError) -> Void
    ) throws(HubSimulatorError) {
        try state.withLock { state throws(HubSimulatorError) in
            try refresh(&state)
            var products = state.products
            try body(&products)
            try replaceFile(path, with: RegistryFile.encode(products))
            try refresh(&state)
        }
    }

    private func refresh(_ state: inout State) throws(HubSimulatorError) {
        var status = stat()
        guard stat(path, &status) == 0 else { throw .file(path, code: clinux_errno()) }
        let version = FileVersion(
            inode: status.st_ino,
            size: status.st_size,
            seconds: status.st_mtim.tv_sec,
            nanoseconds: status.st_mtim.tv_nsec
        )
        guard version != state.version else { return }
        let products = try RegistryFile.decode(readFile(path), path: path, directory: directory)
        state.products = products
        state.devices = [:]
        for device in products.flatMap(\.devices) { state.devices[device.clientID] = device }
        state.version = version
    }
}
