// The main job behind a cellular modem of Quectel's, EC2x and the like.
import ATAdapter
import MainJob

@main enum Main {
    static func main() { MainJob.run(.quectel) }
}
