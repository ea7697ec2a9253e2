/// What is wrong with a device's identity, found before anything is sent.
@nonexhaustive
public enum HubIdentityError: Error, Equatable, Sendable {
    /// A product ID is 10 characters of `A-Z 0-9`.
    case invalidProductID
    /// A device name is 1 to 48 characters of `A-Z a-z 0-9 _ -`.
    case invalidDeviceName
    /// A device secret is base64 text of 1 to 48 bytes.
    case invalidDeviceSecret
    /// A connection ID is 5 characters of `A-Z a-z 0-9`.
    case invalidConnectionID
}
