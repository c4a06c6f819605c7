# frozen_string_literal: true

require "erb"

# Nchan in nginx, one worker a core, published to by HTTP.
class Nchan < Bench::Server
  def name
    "nchan"
  end

  def title
    "Nchan in nginx"
  end

  def install
    "bench/peers/nchan/install"
  end

  def ready?
    File.exist?("/usr/lib/nginx/modules/ngx_nchan_module.so")
  end

  def files(place)
    template = ERB.new(File.read(File.join(__dir__, "nginx.conf.erb")))
    { "nginx.conf" => template.result_with_hash(port: place.port, folder: place.folder) }
  end

  def command(place)
    ["/usr/sbin/nginx", "-c", File.join(place.folder, "nginx.conf")]
  end

  def load(place)
    speaks("nchan", place, "nchan://127.0.0.1:#{place.port}")
  end
end
