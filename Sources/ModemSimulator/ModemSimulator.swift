// ModemSimulator
