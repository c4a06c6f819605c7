# frozen_string_literal: true

module NoDevent
  class Configuration
    # Reads a secret from a file of its own, as Docker and systemd provide them. The server reads them alike.
    module SecretFile
      # A larger file is not a secret.
      #
      # # Units
      # Bytes.
      MAX_BYTES = 64 * 1024

      private_constant :MAX_BYTES

      class << self
        # @param name [String] the path, as the configuration has it
        # @param folder [String] where relative paths begin
        # @return [String] the text, without the line break at its end
        # @raise [ArgumentError] if the file cannot be read, or contains no secret; without its text
        def read(name, folder)
          path = File.expand_path(name, folder)
          text = File.read(path, MAX_BYTES + 1, encoding: Encoding::UTF_8).to_s
          raise ArgumentError, "#{path} is larger than 64 KB" if text.bytesize > MAX_BYTES

          text = text.delete_suffix("\n").delete_suffix("\r")
          raise ArgumentError, "#{path} is empty" if text.strip.empty?
          return text if text.valid_encoding? && text.strip == text && !text.match?(/[[:cntrl:]]/)

          raise ArgumentError, "#{path} contains white space at an end, several lines, or control characters"
        rescue SystemCallError => e
          raise ArgumentError, "#{shown_path(path, name)} cannot be read: #{e.message[/\A[^@]*/].strip}"
        end

        # A path as a message may contain it: if there is such a file or folder. Otherwise it may be a secret that was
        # written instead of the name of its file.
        # @param path [String] absolute
        # @param name [String] the path, as the configuration has it
        # @return [String]
        def shown_path(path, name)
          File.exist?(path) || File.symlink?(path) || below_folder?(path, name) ? path : "the file"
        end

        private

        def below_folder?(path, name)
          folder = File.dirname(path)
          name.include?("/") && folder != "/" && File.directory?(folder)
        end
      end
    end
  end
end
