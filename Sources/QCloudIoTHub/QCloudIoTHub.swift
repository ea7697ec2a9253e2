// QCloudIoTHub
