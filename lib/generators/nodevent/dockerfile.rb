# frozen_string_literal: true

require "pathname"

module Nodevent
  module Generators
    # Makes the Dockerfile that Rails generates build a gem which is in a folder of the application, as a submodule is.
    # Bundler installs such gems as they are, and the Dockerfile copies the folder only after it has installed the gems.
    #
    # A stage of its own builds the extension and the server, so the image has no Rust. `.dockerignore` leaves out what
    # was built on this machine, perhaps for another version of Ruby.
    module Dockerfile
      IMAGE = "Dockerfile"
      IGNORED = ".dockerignore"
      # Before the stage that installs the gems.
      STAGE = <<~DOCKERFILE
        # Build the extension and the server of NoDevent. The other stages have no Rust.
        FROM base AS nodevent
        RUN apt-get update -qq && \\
            apt-get install --no-install-recommends -y build-essential libclang-dev
        COPY --from=docker.io/library/rust:1-slim /usr/local/cargo /usr/local/cargo
        COPY --from=docker.io/library/rust:1-slim /usr/local/rustup /usr/local/rustup
        ENV CARGO_HOME="/usr/local/cargo" RUSTUP_HOME="/usr/local/rustup" PATH="/usr/local/cargo/bin:$PATH"
        COPY %<folder>s /nodevent
        RUN ruby /nodevent/ext/nodevent/extconf.rb && make install sitearchdir=/built

      DOCKERFILE
      # Before the gems are installed.
      FOLDER = "COPY %<folder>s %<folder>s\n"
      # After the application was copied.
      BUILT = "COPY --from=nodevent /built/nodevent %<folder>s/lib/nodevent\n"
      LEFT_OUT = <<~DOCKERIGNORE

        # NoDevent is built in the image.
        /%<folder>s/.git
        /%<folder>s/target
        /%<folder>s/tmp
        /%<folder>s/**/node_modules
        /%<folder>s/lib/nodevent/bin
        /%<folder>s/lib/nodevent/nodevent.*
      DOCKERIGNORE
      # The stage that installs the gems, with the comment before it.
      BUILD = /^(?:#[^\n]*\n)*FROM\s+base\s+AS\s+build[ \t]*\n/i
      GEMS = /^COPY\s[^\n]*\bGemfile\b[^\n]*\n/
      APPLICATION = /^COPY\s+\.\s+\.[ \t]*\n/

      private_constant :IMAGE, :IGNORED, :STAGE, :FOLDER, :BUILT, :LEFT_OUT, :BUILD, :GEMS, :APPLICATION

      private

      def build_in_image
        return unless File.exist?(path(IMAGE)) && (gem = vendored)
        return by_hand("the gem's folder is outside of the application, so #{IMAGE} cannot copy it") if gem == :outside

        folder, source = gem
        leave_out(folder) if source
        return say_status(:identical, IMAGE, :blue) if read(IMAGE).match?(/^COPY\s+#{Regexp.escape(folder)}\s/)

        changed = with_gem(read(IMAGE), folder, source)
        return by_hand("#{IMAGE} is not like that of Rails; docs/hosting.md has the lines for NoDevent") unless changed

        say_status :insert, IMAGE
        File.binwrite(path(IMAGE), changed) unless options[:pretend]
      end

      # The gem's folder below the application, and whether it has to be built. nil if Bundler installs the gem itself.
      def vendored
        gem = Gem.loaded_specs["nodevent"]
        return unless gem && defined?(::Bundler::Source::Path) && gem.source.instance_of?(::Bundler::Source::Path)

        folder = Pathname(gem.full_gem_path).relative_path_from(Pathname(destination_root).realpath).to_s
        folder.start_with?("..") ? :outside : [folder, File.exist?(path("#{folder}/ext/nodevent/extconf.rb"))]
      end

      def with_gem(text, folder, source)
        if text.include?("\r\n")
          changed = with_gem(text.gsub("\r\n", "\n"), folder, source)
          return changed&.gsub("\n", "\r\n")
        end
        return unless [BUILD, GEMS, APPLICATION].all? { |line| text.match?(line) }

        text = text.sub(GEMS) { |line| format(FOLDER, folder: folder) + line }
        return text unless source

        text = text.sub(BUILD) { |lines| format(STAGE, folder: folder) + lines }
        text.sub(APPLICATION) { |line| line + format(BUILT, folder: folder) }
      end

      def leave_out(folder)
        return create_file(IGNORED, format(LEFT_OUT, folder: folder).lstrip) unless File.exist?(path(IGNORED))
        return say_status(:identical, IGNORED, :blue) if line?(IGNORED, %r{^/#{Regexp.escape(folder)}/target$})

        append(IGNORED, format(LEFT_OUT, folder: folder))
      end
    end
  end
end
