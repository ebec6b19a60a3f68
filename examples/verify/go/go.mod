module wxgate.example/verify

go 1.19
