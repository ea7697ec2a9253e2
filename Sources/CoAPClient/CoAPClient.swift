// CoAPClient
