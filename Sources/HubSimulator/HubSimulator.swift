// HubSimulator
