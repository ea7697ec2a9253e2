/// A family of modems that a ``Modem`` can drive. A program contains only the drivers that it names.
public struct ModemDriver: Sendable {
    let makeDialect: @Sendable () -> any ATDialect
}
