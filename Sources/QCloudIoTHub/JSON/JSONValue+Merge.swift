// What the device shadow does with documents: `null` deletes, objects are merged member by member, everything else is replaced.
extension JSONValue {
    /// Applies `change`, as the hub does with an update.
    public mutating func apply(_ change: JSONValue) { merge(change, keepsNulls: false) }

    /// Adds a later change to this one: both in one. Here `null` stays, since it still has to delete.
    ///
    /// A member that the earlier change deletes or makes no object, and the later one an object, is merged into an object that the hub has there.
    public mutating func append(change: JSONValue) { merge(change, keepsNulls: true) }

    private mutating func merge(_ change: JSONValue, keepsNulls: Bool) {
        guard case .object(let changes) = change else {
            self = change
            return
        }
        var all = members ?? []
        self = .null  // So that the members are changed in place.
        for change in changes { Self.merge(change, into: &all, keepsNulls) }
        self = .object(all)
    }

    private static func merge(_ change: JSONMember, into all: inout [JSONMember], _ keepsNulls: Bool) {
        for index in all.indices where all[index].name == change.name {
            if !keepsNulls, case .null = change.value {
                all.remove(at: index)
            } else {
                all[index].value.merge(change.value, keepsNulls: keepsNulls)
            }
            return
        }
        if keepsNulls {
            all.append(change)
        } else if case .null = change.value {
            // There is nothing to delete.
        } else {
            var value = JSONValue.null
            value.merge(change.value, keepsNulls: false)
            all.append(JSONMember(name: change.name, value: value))
        }
    }

    /// What of this change is still to be done where `base` is there already; `nil` for nothing.
    public func remainder(after base: JSONValue?) -> JSONValue? {
        switch self {
        case .null: return base == nil ? nil : .null
        case .object(let changes):
            guard let base, base.isObject else {
                // What only deletes has nothing to delete there, but the object itself is new.
                return self
            }
            var rest: [JSONMember] = []
            for change in changes {
                guard let value = change.value.remainder(after: base[name: change.name]) else { continue }
                rest.append(JSONMember(name: change.name, value: value))
            }
            return rest.isEmpty ? nil : .object(rest)
        case .bool, .number, .string, .array: return self == base ? nil : self
        }
    }

    /// The same without members that are `null`.
    public var withoutNulls: JSONValue {
        guard case .object(let members) = self else { return self }
        var rest: [JSONMember] = []
        for member in members {
            if case .null = member.value { continue }
            rest.append(JSONMember(name: member.name, value: member.value.withoutNulls))
        }
        return .object(rest)
    }
}
