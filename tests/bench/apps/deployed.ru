# A Rack app that says which release of it answers, and which process.
VERSION = "1"

run(lambda do |env|
  body = %({"version": "#{VERSION}", "pid": #{Process.pid}})
  [200, { "content-type" => "application/json", "content-length" => body.bytesize.to_s }, [body]]
end)
