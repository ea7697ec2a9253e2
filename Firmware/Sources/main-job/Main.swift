// The main job behind an ESP-AT modem.
import ATAdapter
import MainJob

@main enum Main {
    static func main() { MainJob.run(.espAT) }
}
