/// A product's data template, as the console of IoT Explorer exports it: `properties`, `events` and `actions`, each with an `id` and types.
struct ThingModel {
    let document: HubJSON

    /// `nil` if it is none.
    init?(_ document: HubJSON) {
        guard ["properties", "events", "actions"].contains(where: { document[$0]?.elements != nil }) else { return nil }
        self.document = document
    }

    /// What is wrong with reported properties, or `nil`.
    func fault(inProperties params: HubJSON) -> String? {
        for member in params.members ?? [] {
            guard let type = entry("properties", member.name)?["define"] else { return "no property \(member.name)" }
            if let fault = Self.fault(of: member.value, type) { return "\(member.name): \(fault)" }
        }
        return nil
    }

    /// What is wrong with properties that a device is to set, or `nil`: those that it only reports are none of them.
    func fault(inControl params: HubJSON) -> String? {
        for member in params.members ?? [] where entry("properties", member.name)?["mode"] == "r" {
            return "the property \(member.name) cannot be set"
        }
        return fault(inProperties: params)
    }

    /// What is wrong with an event, or `nil`.
    func fault(inEvent event: HubJSON) -> String? {
        guard let id = event["eventId"]?.string, let entry = entry("events", id) else {
            return "no event \(event["eventId"]?.string ?? "")"
        }
        return Self.fault(in: event["params"] ?? .emptyObject, entry["params"])
    }

    /// What is wrong with the input of an action, or `nil`.
    func fault(inAction id: String, _ params: HubJSON) -> String? {
        guard let entry = entry("actions", id) else { return "no action \(id)" }
        return Self.fault(in: params, entry["input"])
    }

    private func entry(_ list: String, _ id: String) -> HubJSON? {
        document[list]?.elements?.first { $0["id"] == .string(id) }
    }

    private static func fault(in params: HubJSON, _ declared: HubJSON?) -> String? {
        for member in params.members ?? [] {
            guard let type = declared?.elements?.first(where: { $0["id"] == .string(member.name) })?["define"] else {
                return "no parameter \(member.name)"
            }
            if let fault = fault(of: member.value, type) { return "\(member.name): \(fault)" }
        }
        return nil
    }

    private static func fault(of value: HubJSON, _ type: HubJSON) -> String? {
        switch type["type"]?.string {
        case "bool":
            return [.number(0), .number(1), .bool(false), .bool(true)].contains(value) ? nil : "0 or 1 is needed"
        case "int", "timestamp":
            guard case .number(let number) = value, Int(exactly: number) != nil else {
                return "a whole number is needed"
            }
            return outside(number, type)
        case "float":
            guard case .number(let number) = value else { return "a number is needed" }
            return outside(number, type)
        case "string":
            guard let text = value.string else { return "a text is needed" }
            return outside(Double(text.utf8.count), type)
        case "enum":
            guard case .number = value, let number = value.integer else { return "a whole number is needed" }
            return type["mapping"]?["\(number)"] == nil ? "\(number) is none of the choices" : nil
        case "stringenum":
            guard let text = value.string else { return "a text is needed" }
            return type["mapping"]?[text] == nil ? "\(text) is none of the choices" : nil
        case "struct":
            guard let members = value.members else { return "an object is needed" }
            for member in members {
                guard
                    let type = type["specs"]?.elements?.first(where: { $0["id"] == .string(member.name) })?["dataType"]
                else { return "no member \(member.name)" }
                if let fault = fault(of: member.value, type) { return "\(member.name): \(fault)" }
            }
            return nil
        case "array":
            guard let elements = value.elements else { return "a list is needed" }
            let elementType = type["arrayInfo"] ?? .emptyObject
            return elements.lazy.compactMap { fault(of: $0, elementType) }.first
        default: return nil
        }
    }

    /// The limits of a type are texts in the vendor's models.
    private static func outside(_ number: Double, _ type: HubJSON) -> String? {
        func limit(_ name: String) -> Double? {
            if case .number(let limit)? = type[name] { return limit }
            return type[name]?.string.flatMap { Double($0) }
        }
        if let low = limit("min"), number < low { return "less than \(low)" }
        if let high = limit("max"), number > high { return "more than \(high)" }
        return nil
    }
}
