internal import CLinux
internal import CcJSON

/// A product of the registry, with its devices.
struct RegisteredProduct: Equatable {
    let id: String
    /// For dynamic registration.
    let secret: String
    var devices: [RegisteredDevice]
}

/// The registry's JSON: products with their devices. The broker's plugin reads the same file.
enum RegistryFile {
    /// Reads the file's text; certificates are in `directory`.
    static func decode(_ text: [UInt8], path: String, directory: String) throws(HubSimulatorError)
        -> [RegisteredProduct]
    {
        let json = text.withUnsafeBufferPointer { bytes in
            bytes.withMemoryRebound(to: CChar.self) { cJSON_ParseWithLength($0.baseAddress, $0.count) }
        }
        guard let json else { throw .registryMalformed(path: path, reason: "it is not JSON") }
        defer { cJSON_Delete(json) }
        guard let list = cJSON_GetObjectItemCaseSensitive(json, "products"), cJSON_IsArray(list) != 0 else {
            throw .registryMalformed(path: path, reason: "it has no array \"products\"")
        }
        var products: [RegisteredProduct] = []
        for product in elements(of: list) {
            let id = string("productId", of: product)
            var devices: [RegisteredDevice] = []
            for entry in elements(of: cJSON_GetObjectItemCaseSensitive(product, "devices")) {
                let device = try device(entry, productID: id, path: path, directory: directory)
                devices.append(device)
            }
            products.append(RegisteredProduct(id: id, secret: string("productSecret", of: product), devices: devices))
        }
        return products
    }

    /// The file's text.
    static func encode(_ products: [RegisteredProduct]) -> [UInt8] {
        let json = cJSON_CreateObject()
        defer { cJSON_Delete(json) }
        let list = cJSON_AddArrayToObject(json, "products")
        for product in products {
            let object = cJSON_CreateObject()
            cJSON_AddItemToArray(list, object)
            cJSON_AddStringToObject(object, "productId", product.id)
            cJSON_AddStringToObject(object, "productSecret", product.secret)
            let devices = cJSON_AddArrayToObject(object, "devices")
            for device in product.devices {
                let entry = cJSON_CreateObject()
                cJSON_AddItemToArray(devices, entry)
                cJSON_AddStringToObject(entry, "deviceName", device.deviceName)
                cJSON_AddStringToObject(entry, "type", device.credential.description)
                if let secret = device.secret { cJSON_AddStringToObject(entry, "deviceSecret", secret) }
                cJSON_AddBoolToObject(entry, "enabled", device.isEnabled ? 1 : 0)
            }
        }
        guard let text = cJSON_Print(json) else { return [] }
        defer { cJSON_free(text) }
        return Array(String(cString: text).utf8) + [UInt8(ascii: "\n")]
    }

    static func certificatePath(_ directory: String, productID: String, deviceName: String) -> String {
        "\(directory)/devices/\(productID)/\(deviceName)_cert.crt"
    }

    static func privateKeyPath(_ directory: String, productID: String, deviceName: String) -> String {
        "\(directory)/devices/\(productID)/\(deviceName)_private.key"
    }

    private static func device(
        _ json: UnsafeMutablePointer<cJSON>,
        productID: String,
        path: String,
        directory: String
    ) throws(HubSimulatorError) -> RegisteredDevice {
        let name = string("deviceName", of: json)
        let credential: RegisteredDevice.Credential
        switch string("type", of: json) {
        case "key": credential = .key(secret: string("deviceSecret", of: json))
        case "certificate":
            credential = .certificate(
                certificatePath: certificatePath(directory, productID: productID, deviceName: name),
                privateKeyPath: privateKeyPath(directory, productID: productID, deviceName: name)
            )
        default: throw .registryMalformed(path: path, reason: "the type of \"\(name)\" is neither key nor certificate")
        }
        let isDisabled = cJSON_IsFalse(cJSON_GetObjectItemCaseSensitive(json, "enabled")) != 0
        let device = RegisteredDevice(
            productID: productID,
            deviceName: name,
            credential: credential,
            isEnabled: !isDisabled
        )
        do {
            try device.check()
        } catch {
            throw .registryMalformed(path: path, reason: "\(error)")
        }
        return device
    }

    private static func string(_ name: String, of json: UnsafeMutablePointer<cJSON>?) -> String {
        guard let text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, name)) else { return "" }
        return String(cString: text)
    }

    private static func elements(of array: UnsafeMutablePointer<cJSON>?) -> [UnsafeMutablePointer<cJSON>] {
        var result: [UnsafeMutablePointer<cJSON>] = []
        var next = array?.pointee.child
        while let element = next {
            result.append(element)
            next = element.pointee.next
        }
        return result
    }
}
